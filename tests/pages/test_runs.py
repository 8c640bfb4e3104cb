"""The operators' pages: what they say of runs, orphans and back ends, and what their buttons do."""

from datetime import timedelta

import pytest
from django.utils import timezone

from core.models import Event
from provisioning.models import Breaker, Run, Step, StepLine
from provisioning.services import breakers, claims, execution
from tests.factories import published_offering
from tests.pages.forms import Forms, form_of
from tests.pages.test_statements import costs_the_same, statements
from tests.provisioning import fakes
from tests.provisioning.engine import drive, fresh, lose, numbers, place, run_of, step_of


@pytest.fixture(autouse=True)
def far_side(settings, tmp_path, monkeypatch):
    """The fake connectors beside the real ones, and their far side."""
    monkeypatch.setenv("FAR_SIDE", str(tmp_path))
    settings.CONNECTORS = settings.CONNECTORS | fakes.CONNECTORS
    return fakes.FarSide(tmp_path)


@pytest.fixture
def order(org):
    """Order a service of steps given as (name, connector, inputs, further fields of the step)."""

    def placed(*steps):
        rows = [
            {"name": name, "connector": connector, "inputs": inputs} | (more[0] if more else {})
            for name, connector, inputs, *more in steps
        ]
        return place(published_offering(org, f"service-{next(numbers)}", steps=rows), org.business)

    return placed


@pytest.fixture
def stuck(order):
    """An order whose undoing has failed."""
    placed = order(("Building it", "bare", {"undo_refuses": True}), ("Looking at it", "bare", {"refuses": True}))
    drive()
    return placed


@pytest.fixture
def held(order):
    """An order whose only step has failed and waits for an operator."""
    placed = order(("Building it", "bare", {"refuses": True}, {"on_failure": "wait"}))
    drive()
    return placed


@pytest.fixture
def blind(order):
    """An order of which nobody knows whether its step happened."""
    placed = order(("Building it", "forgetful", {}))
    lose(claims.claim())
    drive()
    return placed


@pytest.fixture
def operator(signed_in):
    """The browser of an IT admin."""
    return signed_in("curator")


def text(answer):
    assert answer.status_code == 200, answer
    return answer.content.decode()


def page_of(client, order):
    return client.get(f"/runs/{run_of(order).pk}/")


def press(client, order, what, **typed):
    """Press the button of the run's page whose form goes to an address that ends with `what`."""
    forms = Forms(page_of(client, order).content.decode()).by_action
    action = next(one for one in forms if one.endswith(f"/{what}/"))
    return client.post(action, forms[action] | typed)


class TestList:
    def test_what_needs_an_operator_comes_first_and_says_why(self, operator, stuck, held, blind):
        page = text(operator.get("/runs/"))
        for words in (
            "Undoing failed; waits for an operator: The far side does not let it go.",
            "Failed; waits for an operator: The far side refuses it.",
            "Nobody can say whether it happened",
            f"order {stuck.number} by Maria Keller",
        ):
            assert words in page
        assert 'Needs an operator <span class="n">3</span>' in page

    def test_the_tabs_show_what_runs_is_undone_failed_and_is_done(self, operator, order):
        done, failed = order(("a", "bare", {})), order(("a", "bare", {"refuses": True}))
        drive()
        running = order(("a", "bare", {}))
        for tab, name in (("running", running.name), ("failed", failed.name), ("done", done.name)):
            page = text(operator.get(f"/runs/?tab={tab}"))
            assert f">{name}</a>" in page
            assert page.count('href="/runs/') - page.count('href="/runs/?') == 2  # the one run, and the top bar

    def test_the_next_try_has_a_time(self, operator, order):
        order(("a", "bare", {"fails": 9, "after": 600}))
        execution.execute(claims.claim())
        at = timezone.localtime(Step.objects.get().next_run_at)
        assert f"Will be tried again at {at:%H:%M:%S} (attempt 2 of 5)" in text(operator.get("/runs/"))

    def test_filters_narrow_and_stay_in_the_tabs(self, operator, stuck, held):
        page = text(operator.get("/runs/", {"q": stuck.name, "back_end": "bare"}))
        assert f">{stuck.name}</a>" in page
        assert f">{held.name}</a>" not in page
        assert f"q={stuck.name.replace(' ', '+')}" in page
        assert "Nothing like that here" in text(operator.get("/runs/?back_end=elsewhere"))

    @pytest.mark.parametrize(
        "query", ["tab=nonsense", "back_end=%F0%9F%92%A9", "q=%25%27%22", "offering=../", "q=9" * 30]
    )
    def test_odd_addresses_are_lists_too(self, operator, held, query):
        assert operator.get(f"/runs/?{query}").status_code == 200

    def test_a_poll_brings_nothing_until_something_is_new(self, operator, held):
        answer = operator.get("/runs/")
        poll = answer.context["poll_url"]
        assert operator.get(poll).status_code == 204
        press(operator, held, "skip", reason="Done by hand.")
        assert "Nothing needs an operator" in text(operator.get(f"{poll}&tab=operator"))

    def test_pages_of_the_list_lead_to_pages(self, operator, order, monkeypatch):
        monkeypatch.setattr("provisioning.views.runs.PAGE_SIZE", 1)
        for _ in range(3):
            order(("a", "bare", {}))
        first = operator.get("/runs/?tab=running")
        second = operator.get(first.context["next_url"])
        assert len(second.context["rows"]) == 1
        assert second.context["previous_url"].startswith("/runs/?")
        live = operator.get("/runs/live/?tab=running")
        assert live.context["next_url"].startswith("/runs/?tab=running&after=")
        assert operator.get(second.context["poll_url"]).status_code == 204

    def test_all_of_a_list_are_tried_again_at_once(self, operator, stuck, blind, far_side):
        far_side.open("undo")
        form = form_of(operator.get("/runs/"), "/runs/retry/")
        answer = operator.post("/runs/retry/", form)
        assert (answer.status_code, answer.url) == (303, "/runs/?tab=operator")
        page = text(operator.get(answer.url))
        assert "1 run is tried again." in page
        assert "1 is not: Nobody knows whether" in page
        drive()
        assert run_of(stuck).state == "compensated"


class TestRun:
    def test_it_tells_every_attempt_and_the_log_without_secrets(self, operator, order):
        placed = order(("Building it", "fake", {"fails": 1}), ("Looking at it", "bare", {}))
        drive()
        StepLine.objects.create(step=step_of(placed, "Building it"), text="It took <b>two</b> tries.")
        page = text(page_of(operator, placed))
        for words in (
            "Attempt 1 at",
            "will be tried again",
            "Attempt 2 at",
            "It took &lt;b&gt;two&lt;/b&gt; tries.",
            "ref-",
        ):
            assert words in page

    def test_the_log_of_one_step_alone(self, operator, order):
        placed = order(("One", "bare", {}), ("Two", "bare", {}))
        drive()
        for name in ("One", "Two"):
            StepLine.objects.create(step=step_of(placed, name), text=f"Line of {name}.")
        page = text(operator.get(f"/runs/{run_of(placed).pk}/?step={step_of(placed, 'Two').pk}"))
        assert "Line of Two." in page
        assert "Line of One." not in page
        assert text(operator.get(f"/runs/{run_of(placed).pk}/?step=nonsense"))

    def test_a_poll_brings_new_lines_and_actions_only_where_they_changed(self, operator, order):
        placed = order(("Building it", "bare", {"fails": 1, "after": 600}))
        poll = page_of(operator, placed).context["poll_url"]
        assert operator.get(poll).status_code == 204
        line = StepLine.objects.create(step=step_of(placed, "Building it"), text="Something new.")
        update = text(operator.get(poll))
        assert "Something new." in update
        assert 'id="actions"' not in update
        poll = operator.get(poll).context["poll_url"]
        assert f"log={line.pk}" in poll
        assert operator.get(poll).status_code == 204
        execution.execute(claims.claim())
        update = text(operator.get(poll))
        assert "Will be tried again at" in update
        assert "Try again now" in update

    def test_it_is_tried_again_from_the_failed_step(self, operator, held, far_side):
        Step.objects.update(inputs={})
        answer = press(operator, held, "retry")
        assert (answer.status_code, answer.url) == (303, f"/runs/{run_of(held).pk}/")
        drive()
        assert fresh(held).state == "completed"

    def test_a_second_press_that_comes_late_is_told(self, operator, held):
        action = f"/runs/{run_of(held).pk}/retry/"
        assert operator.post(action).status_code == 303
        assert operator.post(action).status_code == 409

    def test_a_step_is_left_out_with_a_reason(self, operator, held):
        refused = press(operator, held, "skip")
        assert refused.status_code == 422
        assert '<a href="#skip-reason">Enter the reason' in refused.content.decode()
        assert press(operator, held, "skip", reason="Done by hand.").status_code == 303
        assert fresh(held).state == "completed"
        assert Event.objects.get(name="step.skipped").facts["reason"] == "Done by hand."

    @pytest.mark.parametrize(("what", "state"), [("undo", "compensated"), ("abandon", "abandoned")])
    def test_a_run_is_undone_or_abandoned_with_a_reason(self, operator, held, what, state):
        refused = press(operator, held, what, reason=" ")
        assert refused.status_code == 422
        assert press(operator, held, what, reason="Not wanted.").status_code == 303
        drive()
        assert (run_of(held).state, run_of(held).reason) == (state, "Not wanted.")
        assert "Not wanted." in text(page_of(operator, held))

    def test_what_became_of_a_step_is_said_with_what_it_gave(self, operator, blind):
        typed = {"answer": "happened", "reason": "I saw it.", "outputs": "host = 10.0.0.7\nport =\n\nnote = a = b"}
        assert press(operator, blind, "resolve", **typed).status_code == 303
        assert fresh(blind).state == "completed"
        assert fresh(blind.instance).outputs == {"host": "10.0.0.7", "note": "a = b"}

    @pytest.mark.parametrize(
        ("typed", "sentence"),
        [
            ({"reason": "x"}, "Choose what is so."),
            ({"answer": "perhaps", "reason": "x"}, "Choose what is so."),
            ({"answer": "happened"}, "Enter the reason"),
            ({"answer": "happened", "reason": "x", "outputs": "a b = 1"}, "cannot be the name of an output"),
        ],
    )
    def test_an_answer_that_is_none_is_explained_and_what_was_typed_stays(self, operator, blind, typed, sentence):
        answer = press(operator, blind, "resolve", **({"outputs": "kept = 1"} | typed))
        assert answer.status_code == 422
        page = answer.content.decode()
        assert sentence in page
        assert typed.get("outputs", "kept = 1") in page
        assert step_of(blind, "Building it").state == "outcome_unknown"

    def test_a_step_of_another_run_is_not_there(self, operator, held, blind):
        address = f"/runs/{run_of(held).pk}/steps/{step_of(blind, 'Building it').pk}/skip/"
        assert operator.post(address, {"reason": "x"}).status_code == 404

    def test_a_task_can_be_opened_from_here(self, operator, order):
        placed = order(("By hand", "manual", {"due_hours": 2}))
        drive()
        assert f'href="/tasks/{step_of(placed, "By hand").task.pk}/"' in text(page_of(operator, placed))


class TestOrphans:
    def test_they_are_listed_with_place_age_and_reason_and_tried_from_there(self, operator, stuck, far_side):
        page = text(operator.get("/orphans/"))
        for words in (stuck.name, "bare", "second", "1 of 20", "The far side does not let it go."):
            assert words in page
        far_side.open("undo")
        operator.post(
            f"/runs/{run_of(stuck).pk}/retry/", form_of(operator.get("/orphans/"), f"/runs/{run_of(stuck).pk}/retry/")
        )
        drive()
        assert "Nothing is left behind" in text(operator.get("/orphans/"))


class TestBackEnds:
    def test_a_silent_one_is_shown_and_tried_at_once(self, operator, order):
        order(("a", "bare", {}))
        for _ in range(breakers.FAILURES):
            breakers.note_failure("bare", "Connection refused.")
        Breaker.objects.update(probe_at=timezone.now() + timedelta(minutes=9))
        answer = operator.get("/back-ends/")
        assert "Does not answer" in text(answer)
        assert "Connection refused." in text(answer)
        assert "bare does not answer" in text(operator.get("/runs/"))
        poll = answer.context["poll_url"]
        assert operator.get(poll).status_code == 204
        assert operator.post("/back-ends/bare/try/", form_of(answer, "/back-ends/bare/try/")).status_code == 303
        execution.execute(claims.claim())
        assert "Answers" in text(operator.get(poll))
        assert "Connection refused." not in text(operator.get("/back-ends/"))

    def test_one_that_answers_is_not_tried(self, operator):
        assert operator.post("/back-ends/bare/try/").status_code == 409


class TestWho:
    ADDRESSES = ("/runs/", "/runs/live/", "/orphans/", "/back-ends/", "/back-ends/live/")

    @pytest.mark.parametrize("username", ["business", "approver", "finance"])
    def test_these_pages_are_for_those_who_run_or_audit_the_platform(self, signed_in, held, username):
        client = signed_in(username)
        for address in (*self.ADDRESSES, f"/runs/{run_of(held).pk}/", f"/runs/{run_of(held).pk}/live/"):
            assert client.get(address).status_code == 403
        assert 'href="/runs/"' not in text(client.get("/"))

    @pytest.mark.parametrize("username", ["auditor", "service_owner"])
    def test_who_may_only_look_finds_no_buttons(self, signed_in, stuck, held, username):
        client = signed_in(username)
        assert "Needs an operator" in text(client.get("/runs/"))
        for address in (*self.ADDRESSES, f"/runs/{run_of(held).pk}/"):
            actions = Forms(text(client.get(address))).by_action
            assert set(actions) <= {"/sign-out/", "/runs/"}
        run, step = run_of(held), step_of(held, "Building it")
        for address in ("retry", "undo", "abandon", f"steps/{step.pk}/skip", f"steps/{step.pk}/resolve"):
            assert client.post(f"/runs/{run.pk}/{address}/", {"reason": "x", "answer": "happened"}).status_code == 403
        for address in ("/runs/retry/", "/back-ends/bare/try/"):
            assert client.post(address).status_code == 403

    def test_a_service_owner_sees_the_runs_of_his_services_alone(self, org, signed_in, held):
        other = held.plan.version.offering
        other.service_owner = org.curator
        other.save(update_fields=["service_owner"])
        client = signed_in("service_owner")
        assert "Nothing here" in text(client.get("/runs/"))
        assert client.get(f"/runs/{run_of(held).pk}/").status_code == 404

    def test_buttons_pressed_by_get_lead_to_the_page(self, operator, held):
        answer = operator.get(f"/runs/{run_of(held).pk}/retry/")
        assert (answer.status_code, answer.url) == (303, f"/runs/{run_of(held).pk}/")


class TestStatements:
    def test_the_lists_cost_the_same_however_long(self, operator, order):
        def more(number):
            order(("a", "bare", {"undo_refuses": True}), ("b", "bare", {"refuses": True}))
            drive()

        more(0)
        costs_the_same(operator, "/runs/?tab=operator", more)
        assert Run.objects.count() == 20
        costs_the_same(operator, "/orphans/", lambda number: more(number) if number < 3 else None)
        costs_the_same(operator, "/back-ends/", lambda number: more(number) if number < 3 else None)

    def test_a_run_costs_the_same_however_many_steps_and_attempts(self, operator, order):
        short, long = order(("a", "bare", {})), order(*((f"s{number}", "bare", {"fails": 2}) for number in range(20)))
        drive()
        first, second = (f"/runs/{run_of(one).pk}/" for one in (short, long))
        statements(operator, first)
        assert statements(operator, first) == statements(operator, second)
        assert statements(operator, f"{first}live/") == statements(operator, f"{second}live/")
