import re
from decimal import Decimal
from html.parser import HTMLParser

import pytest
from django.template import Context, Template
from hypothesis import given, settings
from hypothesis import strategies as st

from core.templatetags.greenlane import duration, initials, markdown, money

ALLOWED = {
    *(
        "p",
        "h3",
        "h4",
        "h5",
        "h6",
        "ul",
        "ol",
        "li",
        "blockquote",
        "pre",
        "code",
        "em",
        "strong",
        "a",
        "hr",
        "br",
    ),
    *("table", "thead", "tbody", "tr", "th", "td"),
}


class Elements(HTMLParser):
    """Collects what a browser would make of HTML: each element with its attributes."""

    def __init__(self, html):
        super().__init__()
        self.found = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def assert_harmless(html):
    for tag, attributes in Elements(html).found:
        assert tag in ALLOWED
        assert set(attributes) <= ({"href", "title", "rel"} if tag == "a" else set())
        if "href" in attributes:
            assert re.match(r"(https?|mailto):", attributes["href"], re.IGNORECASE)
            assert attributes["rel"] == "noopener nofollow"


def test_markdown_gives_lists_tables_and_emphasis():
    html = markdown("- *one*\n- **two**\n\n|a|b|\n|-|-:|\n|1|2|")
    assert "<li><em>one</em></li>" in html
    assert "<strong>two</strong>" in html
    assert "<td>2</td>" in html


def test_headings_start_below_those_of_the_page():
    assert markdown("# Purpose\n\n## Limits\n\n###### Small print").split("\n")[:3] == [
        "<h3>Purpose</h3>",
        "<h4>Limits</h4>",
        "<h5>Small print</h5>",
    ]


def test_a_text_that_begins_with_a_second_level_leaves_no_gap():
    assert markdown("## What you may do").startswith("<h3>")


def test_a_link_leads_out_without_a_way_back():
    html = markdown("[policy](https://example.com/p?a=1&b=2)")
    assert '<a href="https://example.com/p?a=1&amp;b=2" rel="noopener nofollow">policy</a>' in html


@pytest.mark.parametrize(
    "attack",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<svg/onload=alert(1)>",
        "<a href='javascript:alert(1)'>x</a>",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](java&#115;cript:alert(1))",
        "[x](&#x6A;avascript:alert(1))",
        "[x](\tjavascript:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "[x](vbscript:msgbox(1))",
        "[x](//example.com)",
        "[x](/orders/)",
        "<javascript:alert(1)>",
        "![x](https://example.com/pixel.png)",
        '![x](https://example.com/" onerror="alert(1))',
        '[x](https://example.com "t\\" onmouseover=\\"alert(1)")',
        '[x][y]\n\n[y]: javascript:alert(1) "t"',
        "|a|\n|:-:|\n|<b style=position:fixed onclick=x>|",
        "<style>*{display:none}</style>",
        "<iframe src=https://example.com></iframe>",
        "```x onload=alert(1)\ny\n```",
        "<!--><script>alert(1)</script>-->",
        "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
        "<math><mi//xlink:href='data:x,<script>alert(4)</script>'>",
        "{{ request }}{% load static %}",
    ],
)
def test_an_attack_in_markdown_stays_words(attack):
    assert_harmless(markdown(attack))
    assert_harmless(markdown("# " + attack + "\n\n> " + attack))


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from(list("<>()[]!\"'`=/:#&;|*_-\n\\ ajvscriptonlde")), max_size=200))
def test_no_text_becomes_anything_but_harmless_html(text):
    assert_harmless(markdown(text))


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_rendered(text):
    assert_harmless(markdown(text))


@pytest.mark.parametrize("deep", ["> " * 5000, "[" * 5000, "*a " * 5000, "- " * 5000, "![](" * 5000])
def test_deep_nesting_is_rendered_too(deep):
    assert_harmless(markdown(deep))


def test_text_that_is_too_long_is_shown_as_it_was_written():
    template = Template("{% load greenlane %}{{ text|markdown }}")
    html = template.render(Context({"text": "<b>*x* " * 20_000}))
    assert html.startswith("<p>&lt;b&gt;*x* &lt;b&gt;")


@pytest.mark.parametrize("link", ["[x](/orders/)", "[x](javascript:y)", "[x](//example.com)"])
def test_a_link_that_leads_nowhere_is_shown_as_it_was_written(link):
    assert markdown(link) == f"<p>{link}</p>\n"


def test_no_text_is_nothing():
    assert markdown(None) == ""
    assert markdown("") == ""


def test_money_in_a_template_names_its_currency():
    template = Template("{% load greenlane %}{{ amount|money:currency }}")
    assert template.render(Context({"amount": Decimal("38.5"), "currency": "USD"})) == "$38.50"


@pytest.mark.parametrize(("amount", "shown"), [(None, ""), ("", ""), (0, "$0.00"), ("word", "word"), ("NaN", "NaN")])
def test_money_never_breaks_a_page(amount, shown):
    assert money(amount, "USD") == shown


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""),
        (0, "1 second"),
        (38, "38 seconds"),
        (89, "89 seconds"),
        (95, "2 minutes"),
        (7200, "2 hours"),
        (86_400, "24 hours"),
        (259_200, "3 days"),
    ],
)
def test_durations_are_told_in_the_unit_that_fits(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("name", "letters"), [("Li Wei", "LW"), ("Ann B. Cole", "AC"), ("finance", "F"), ("", "?"), (None, "?")]
)
def test_initials_stand_for_a_person(name, letters):
    assert initials(name) == letters


def test_an_icon_is_decoration_and_its_name_cannot_break_out():
    template = Template("{% load greenlane %}{% icon name %}")
    shown = template.render(Context({"name": "db"}))
    assert shown.startswith('<svg class="ic" aria-hidden="true"><use href="')
    assert "#db" in shown
    assert "<script>" not in template.render(Context({"name": '"/><script>'}))
