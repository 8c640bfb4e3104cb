from decimal import Decimal
from html.parser import HTMLParser

import pytest
from django.http import QueryDict
from django.template import Context, Template
from hypothesis import given, settings
from hypothesis import strategies as st

from core import parameters
from tests.core.order_forms import FORM, form

PAGE = Template(
    '{% include "components/form_errors.html" %}'
    '<form>{% for field in fields %}{% include "components/field.html" %}{% endfor %}</form>'
)


class Page(HTMLParser):
    """Reads a form as a browser does: its elements, and what it would send."""

    def __init__(self, html):
        super().__init__()
        self.html, self.elements, self.sent = html, [], []
        self.select = self.textarea = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        one = dict(attrs)
        self.elements.append((tag, one))
        if tag == "input" and (one["type"] not in {"radio", "checkbox"} or "checked" in one):
            self.sent.append((one["name"], one.get("value", "on")))
        elif tag in {"select", "textarea"}:
            setattr(self, tag, one["name"])
        elif tag == "option" and self.select and "selected" in one:
            self.sent.append((self.select, one["value"]))

    def handle_endtag(self, tag):
        if tag in {"select", "textarea"}:
            setattr(self, tag, None)

    def handle_data(self, data):
        if self.textarea:
            self.sent.append((self.textarea, data.removeprefix("\n")))

    def by_id(self, wanted):
        return next(one for _, one in self.elements if one.get("id") == wanted)

    def post(self):
        sent = QueryDict(mutable=True)
        for name, value in self.sent:
            sent.appendlist(name, value)
        return sent


def page(schema, values=None, wrong=None, prefix="", currency="USD"):
    shown = parameters.fields(schema, values, wrong, prefix, currency)
    context = {"fields": shown, "errors": parameters.problems(shown, wrong or {})}
    return Page(PAGE.render(Context(context)))


def only(spec, value=None):
    """Give the one field of a form with one field `a`."""
    values = None if value is None else {"a": value}
    return parameters.fields(form(a={"title": "A", **spec}), values)[0]


def choices(count):
    return [{"const": f"c{number}", "title": f"Choice {number}"} for number in range(count)]


def parsed(schema, sent):
    return parameters.parse(schema, QueryDict(sent))


# --- fields ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ({"oneOf": choices(5)}, "radios"),
        ({"oneOf": choices(6)}, "select"),
        ({"oneOf": choices(30)}, "select"),
        ({"oneOf": choices(31)}, "datalist"),
        ({"type": "boolean"}, "checkbox"),
        ({"type": "integer"}, "number"),
        ({"type": "number"}, "number"),
        ({"type": "string", "maxLength": 200}, "text"),
        ({"type": "string", "maxLength": 201}, "textarea"),
        ({"type": "string", "format": "date"}, "date"),
        ({"type": "string", "format": "email"}, "email"),
        ({"type": "string", "format": "uri"}, "url"),
        ({"type": "array", "items": {"enum": ["x"]}}, "checkboxes"),
        ({"type": "object", "properties": {}}, "group"),
    ],
)
def test_each_kind_of_schema_has_its_kind_of_field(spec, kind):
    assert only(spec).kind == kind


def test_ids_and_names_tell_groups_and_prefixes_apart():
    by_label = {one.label: one for one in parameters.fields(FORM, prefix="p-")}
    assert (by_label["Name"].id, by_label["Name"].name) == ("f-p-name", "p-name")
    assert by_label["Network"].fields[0].id == "f-p-network-zone"
    assert parameters.fields(FORM)[0].id == "f-name"


def test_a_browser_is_told_limits_in_steps_that_it_counts_right():
    spec = {"type": "integer", "minimum": 5, "maximum": 500, "multipleOf": 10}
    assert only(spec).attrs == {"min": "10", "max": "500", "step": "10"}
    assert only({"type": "number", "minimum": 0}).attrs == {"min": "0", "step": "any"}


def test_prices_are_told_per_choice_per_unit_and_for_a_ticked_box():
    shown = {one.label: one for one in parameters.fields(FORM, currency="USD")}
    assert [choice.price for choice in shown["Size"].choices] == ["", "+$92.50 a month"]
    assert shown["Storage"].price == "+$0.10 a month per GiB"
    assert shown["Backups"].price == "+$6.00 a month"
    assert parameters.fields(FORM)[2].price == ""


def test_a_choice_that_may_stay_open_has_a_way_to_leave_it_open():
    assert [choice.label for choice in only({"oneOf": choices(2)}).choices][-1] == "None"
    assert only({"oneOf": choices(6)}).choices[0].label == "None"
    required = {"required": ["a"], **form(a={"title": "A", "oneOf": choices(6)})}
    assert parameters.fields(required)[0].choices[0].label == "Choose one"
    assert len(only({"oneOf": choices(6), "default": "c1"}).choices) == 6


def test_a_field_shows_what_was_typed_with_its_error():
    wrong = parameters.clean(FORM, {"name": "A B", "storage": "lots"})[1]
    shown = {one.label: one for one in parameters.fields(FORM, {"name": "A B", "storage": "lots"}, wrong)}
    assert (shown["Name"].value, shown["Storage"].value) == ("A B", "lots")
    assert shown["Storage"].error == "Storage must be a whole number"


def test_numbers_are_shown_without_exponent_or_grouping():
    assert only({"type": "number"}, 0.00001).value == "0.00001"
    assert only({"type": "number"}, 1e15).value == "1000000000000000"
    assert only({"type": "integer"}, 5432).value == "5432"


def test_the_error_of_one_in_a_list_stands_at_the_list_and_that_of_a_group_field_at_the_field():
    values = {"name": "abc", "labels": [9], "network": {}}
    shown = {one.label: one for one in parameters.fields(FORM, values, parameters.clean(FORM, values)[1])}
    assert shown["Labels"].error == "Labels: choose only from Red or Blue"
    assert shown["Network"].error == ""
    assert shown["Network"].fields[0].error == "Choose one of Outer or Inner"


# --- what a browser sends ------------------------------------------------------------------------------


def test_what_was_sent_becomes_values_of_the_right_type():
    sent = "name=abc&size=l&storage=30&ratio=0.5&backup=on&labels=2&labels=1&network-zone=in&network-public=on"
    assert parsed(FORM, sent) == {
        "name": "abc",
        "size": "l",
        "storage": 30,
        "ratio": 0.5,
        "backup": True,
        "labels": [2, 1],
        "network": {"zone": "in", "public": True},
    }


def test_an_empty_optional_field_is_left_out_and_an_emptied_default_is_not_restored_unasked():
    values = parsed(FORM, "name=&size=s&storage=&ratio=&ends=&network-zone=")
    assert values == {"name": "", "size": "s", "storage": "", "backup": False}
    assert parameters.clean(FORM, values)[1] == {"/name": "Enter name", "/storage": "Enter storage"}


def test_what_was_not_sent_at_all_has_its_default():
    values = parsed(FORM, "name=abc")
    assert values == {"name": "abc", "backup": False}
    assert parameters.clean(FORM, values) == ({**values, "size": "s", "storage": 20}, {})


def test_a_long_list_keeps_what_was_chosen():
    schema = form(a={"title": "A", "oneOf": choices(10)})
    assert parsed(schema, page(schema, {"a": "c7"}).post().urlencode()) == {"a": "c7"}


def test_a_list_without_a_tick_is_empty_where_a_default_would_step_in():
    schema = form(a={"type": "array", "title": "A", "items": {"enum": ["x"]}, "default": ["x"]})
    assert parsed(schema, "") == {"a": []}
    assert parsed(FORM, "").get("labels") is None


def test_an_unticked_box_is_no_even_where_its_default_is_yes():
    box = {"type": "boolean", "title": "A", "default": True}
    assert parsed(form(a=box), "") == {"a": False}
    assert parsed(form(g={"type": "object", "title": "G", "properties": {"a": box}}), "") == {"g": {"a": False}}


@pytest.mark.parametrize(
    "typed",
    ["ten", "1e3", "1_000", "1,000", "٣", "0x10", "--1", "9" * 5000, "nan", "Infinity", "1.5.2", "\0"],
)
def test_what_is_no_number_stays_as_typed_and_is_refused(typed):
    sent = QueryDict(mutable=True)
    sent["storage"] = typed
    values = parameters.parse(FORM, sent)
    assert values["storage"] == typed
    assert "/storage" in parameters.clean(FORM, values)[1]
    page(FORM, values, parameters.clean(FORM, values)[1]).html.encode()


def test_a_list_to_type_in_shows_titles_and_takes_them_in_any_case():
    schema = form(a={"title": "A", "oneOf": choices(40)})
    assert parsed(schema, "a=choice+7") == {"a": "c7"}
    assert parsed(schema, "a=c7") == {"a": "c7"}
    assert parsed(schema, "a=choice+99") == {"a": "choice 99"}
    shown = page(schema, {"a": "c7"})
    assert shown.by_id("f-a")["value"] == "Choice 7"
    assert shown.by_id("f-a")["list"] == shown.by_id("f-a-list")["id"]


def test_line_ends_of_a_long_text_are_those_of_everybody():
    schema = form(a={"type": "string", "title": "A", "maxLength": 300})
    assert parsed(schema, "a=one%0D%0Atwo") == {"a": "one\ntwo"}


ENTERED = st.fixed_dictionaries(
    {"name": st.from_regex(r"[a-z][a-z0-9-]{2,20}", fullmatch=True)},
    optional={
        "size": st.sampled_from(["s", "l"]),
        "storage": st.integers(1, 50).map(lambda tens: tens * 10),
        "ratio": st.integers(0, 10).map(lambda tenths: tenths / 10),
        "backup": st.booleans(),
        "ends": st.dates().map(str),
        "labels": st.lists(st.sampled_from([1, 2]), min_size=1, unique=True).map(sorted),
        "network": st.fixed_dictionaries({"zone": st.sampled_from(["in", "dmz"]), "public": st.booleans()}),
        "notes": st.text(st.characters(codec="ascii"), min_size=1).map(lambda text: text.strip()).filter(len),
    },
)


@settings(deadline=None)  # drawing a page takes longer on a busy machine
@given(ENTERED)
def test_a_page_sends_back_what_it_shows(entered):
    schema = {
        **FORM,
        "properties": {**FORM["properties"], "notes": {"type": "string", "title": "N", "maxLength": 999}},
    }
    values, wrong = parameters.clean(schema, entered)
    if wrong or "\r" in values.get("notes", ""):
        return
    sent = page(schema, values, prefix="p-").post()
    assert parameters.clean(schema, parameters.parse(schema, sent, "p-")) == (values, {})


# --- the page ------------------------------------------------------------------------------------------


def test_every_field_has_a_label_and_every_id_is_there_once():
    shown = page(FORM)
    ids = [one["id"] for _, one in shown.elements if "id" in one]
    assert len(ids) == len(set(ids))
    labeled = {one["for"] for tag, one in shown.elements if tag == "label" and "for" in one}
    for tag, one in shown.elements:
        if tag in {"select", "textarea"} or (tag == "input" and one["type"] not in {"radio", "checkbox"}):
            assert one["id"] in labeled
    assert "placeholder" not in shown.html
    assert "style=" not in shown.html
    assert "<script" not in shown.html


def test_what_explains_a_field_is_there_under_the_id_that_the_field_names():
    schema = form(a={"type": "string", "title": "A", "description": "Some words", "minLength": 3})
    shown = page(schema, {"a": "x"}, {"/a": "A must be 3 characters or more"})
    entry = shown.by_id("f-a")
    assert entry["aria-describedby"] == "f-a-hint f-a-error"
    assert entry["aria-invalid"] == "true"
    assert entry["value"] == "x"
    assert shown.by_id("f-a-hint")["class"] == "hint"
    assert shown.by_id("f-a-error")["class"] == "errmsg"
    assert shown.html.index("</label>") < shown.html.index("f-a-hint") < shown.html.index('type="text"')


def test_only_what_is_optional_is_marked():
    shown = page(FORM).html
    assert "Name (optional)" not in shown
    assert "Storage (optional)" not in shown
    assert "End date (optional)" in shown
    assert "Network (optional)" in shown


def test_the_summary_takes_the_focus_and_links_to_each_field():
    values = {"size": "x", "network": {}, "other": 1}
    shown = page(FORM, values, parameters.clean(FORM, values)[1])
    summary = next(one for _, one in shown.elements if one.get("role") == "alert")
    assert summary["tabindex"] == "-1"
    assert "data-focus" in summary
    assert "There is a problem" in shown.html
    links = [one["href"] for tag, one in shown.elements if tag == "a"]
    assert links == ["#f-name", "#f-size", "#f-network-zone"]
    assert all(shown.by_id(link[1:]) for link in links)
    assert "<li>There is no field named “other”</li>" in shown.html


def test_a_form_without_errors_has_no_summary():
    assert "There is a problem" not in page(FORM).html


def test_words_of_a_form_and_of_a_person_cannot_break_out_of_the_page():
    attack = '"><script>alert(1)</script>'
    schema = form(
        a={"type": "string", "title": attack, "description": attack},
        b={"title": attack, "oneOf": [{"const": attack, "title": attack, "description": attack}]},
        c={"type": "integer", "title": attack, "x-unit": '"><script>', "default": 1},
        d={"type": "string", "title": attack, "maxLength": 999},
    )
    assert parameters.check_schema(schema) == []
    values = {"a": attack, "b": attack, "c": attack, "d": f"</textarea>{attack}"}
    assert "<script" not in page(schema, values, parameters.clean(schema, values)[1]).html


# --- price and words -----------------------------------------------------------------------------------


def test_the_price_grows_by_choice_unit_and_ticked_box():
    values = {"size": "l", "storage": 30, "backup": True, "labels": [2, 1], "network": {"public": True}}
    assert [(line.label, line.amount) for line in parameters.price_lines(FORM, values)] == [
        ("Size: Large", Decimal("92.50")),
        ("Storage: 30 GiB", Decimal("3.0")),
        ("Backups", Decimal(6)),
        ("Labels: Red", Decimal(2)),
        ("Public", Decimal(3)),
    ]


def test_what_is_free_or_wrong_adds_nothing():
    values = {"size": "s", "storage": float("nan"), "backup": "on", "labels": "Red", "network": 1, "other": 5}
    assert parameters.price_lines(FORM, values) == []
    assert parameters.price_lines(FORM, {"storage": -10, "labels": [[], 1, 1]})[0].amount == Decimal(2)


def test_prices_are_decimal_to_the_last_place():
    schema = form(a={"type": "number", "title": "A", "minimum": 0, "maximum": 10, "x-price": "0.0001"})
    assert parameters.price_lines(schema, {"a": 0.3})[0].amount == Decimal("0.00003")


def test_people_read_titles_and_never_what_stands_for_them():
    values = parameters.clean(FORM, {"name": "abc", "size": "l", "labels": [2], "network": {"zone": "dmz"}})[0]
    assert parameters.described(FORM, values) == [
        ("Name", "abc"),
        ("Size", "Large"),
        ("Storage", "20 GiB"),
        ("Backups", "No"),
        ("Labels", "Blue"),
        ("Network: Zone", "Outer"),
        ("Network: Public", "No"),
    ]
