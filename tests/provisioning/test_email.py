"""A message is sent once or not at all, and where nobody can say which, a person is asked."""

import threading
import time

import pytest
from django.core import mail

from provisioning.connectors import connector
from provisioning.connectors.base import Done, Failed, LeaseLost, Retry, Unknown
from provisioning.models import Step
from tests.factories import published_offering
from tests.far_side.mail import mail_server, scripted_mail_server
from tests.provisioning.calls import a_call, again, lost_lease
from tests.provisioning.engine import drive, place

INPUTS = {"to": "maria@example.com", "subject": "Your database", "text": "It is ready.\n.\nA dot alone.\n"}


@pytest.fixture
def smtp(settings):
    """Send by SMTP to the given port."""

    def use(port):
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port

    return use


def start(**inputs):
    call = a_call(inputs=INPUTS | inputs)
    return connector("email").start(call), call


def test_a_message_reaches_everyone_it_names(smtp):
    with mail_server() as (box, port):
        smtp(port)
        answer, call = start(to=["maria@example.com", "it@example.com"], subject="Überraschung")
    (message,) = box.messages
    assert box.recipients == [["maria@example.com", "it@example.com"]]
    assert message["Message-ID"] == answer.external_ref == f"<{call.idempotency_key}@localhost>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_payload(decode=True).decode().replace("\r\n", "\n") == INPUTS["text"]
    assert answer.detail == "Sent to maria@example.com, it@example.com."


def test_a_backend_that_is_no_server_gets_the_message_too():
    answer, _ = start()
    assert isinstance(answer, Done)
    assert [message.subject for message in mail.outbox] == ["Your database"]


@pytest.mark.parametrize(
    "inputs",
    [
        {"to": "nobody"},
        {"to": []},
        {"to": None},
        {"to": [7]},
        {"to": "a@example.com\nBcc: b@example.com"},
        {"to": "ä@example.com"},
        {"to": ["a@example.com"] * 21},
        {"subject": "One\nBcc: b@example.com"},
        {"subject": "One\r\n\r\ntext"},
        {"subject": ""},
        {"subject": "x" * 201},
        {"subject": 7},
        {"text": ""},
        {"text": "x" * 20_001},
        {"text": None},
    ],
)
def test_what_is_no_message_is_refused_before_anything_is_sent(inputs):
    with pytest.raises(Failed) as refused:
        start(**inputs)
    assert refused.value.left_nothing
    assert mail.outbox == []


@pytest.mark.parametrize(
    "answers",
    [
        {"greeting": None},
        {"greeting": "421 too busy"},
        {"EHLO": None},
        {"MAIL": "451 later"},
        {"RCPT": "450 later"},
        {"RCPT": None},
        {"DATA": "451 later"},
        {"DATA": None},
        {"text": "452 no room"},
    ],
)
def test_until_the_text_is_taken_it_is_tried_again(smtp, answers):
    with scripted_mail_server(**answers) as (_, port):
        smtp(port)
        with pytest.raises(Retry):
            start()


@pytest.mark.parametrize(
    "answers", [{"greeting": "554 no"}, {"MAIL": "550 no"}, {"RCPT": "550 no such person"}, {"text": "554 spam"}]
)
def test_what_the_server_refuses_for_good_is_not_tried_again(smtp, answers):
    with scripted_mail_server(**answers) as (_, port):
        smtp(port)
        with pytest.raises(Failed, match=next(iter(answers.values()))[:3]) as refused:
            start()
    assert refused.value.left_nothing


def test_one_address_that_is_refused_keeps_the_message_from_all(smtp):
    with scripted_mail_server(RCPT="550 no such person") as (script, port):
        smtp(port)
        with pytest.raises(Failed, match=r"maria@example\.com: 550"):
            start(to=["maria@example.com", "it@example.com"])
        assert "DATA" not in script.heard


@pytest.mark.parametrize("answer", [None, 30])
def test_a_server_that_falls_silent_after_the_text_leaves_it_to_a_person(smtp, answer, monkeypatch):
    monkeypatch.setattr("provisioning.connectors.email.ANSWER_SECONDS", 0.5)
    with scripted_mail_server(text=answer) as (script, port):
        smtp(port)
        with pytest.raises(Unknown, match=r"maria@example\.com"):
            start()
        assert script.texts
        script.stop.set()


@pytest.mark.parametrize(("at", "ends"), [("greeting", Retry), ("EHLO", Retry), ("RCPT", Retry), ("text", Unknown)])
def test_a_server_that_drips_is_left_in_time(smtp, at, ends):
    with scripted_mail_server(**{at: "drip"}) as (_, port):
        smtp(port)
        call = a_call(inputs=INPUTS, _ends_at=time.monotonic() + 0.6)
        began = time.monotonic()
        with pytest.raises(ends):
            connector("email").start(call)
        assert time.monotonic() - began < 3


def test_a_lost_lease_ends_the_call(smtp):
    with scripted_mail_server(EHLO=30) as (script, port):
        smtp(port)
        call = a_call(inputs=INPUTS)
        threading.Timer(0.3, call.lease.lose).start()
        with pytest.raises(LeaseLost):
            connector("email").start(call)
        script.stop.set()


def test_who_has_lost_the_lease_sends_nothing():
    with pytest.raises(LeaseLost):
        connector("email").start(a_call(inputs=INPUTS, lease=lost_lease()))
    assert mail.outbox == []


def test_what_was_sent_is_neither_taken_back_nor_sent_again():
    _, call = start()
    back = connector("email")
    assert "cannot be taken back" in back.undo(again(call, "undo")).detail
    assert isinstance(back.update(again(call, "update")), Done)
    with pytest.raises(Failed, match="cannot be looked up"):
        back.describe(again(call, "describe"))
    assert len(mail.outbox) == 1


def test_an_order_sends_a_message_with_its_values(org):
    step = {
        "name": "Telling you",
        "connector": "email",
        "inputs": {
            "to": "${requester.email}",
            "subject": "${order.name} is ready",
            "text": "Order ${order.number} on ${cost_center.code}.",
        },
    }
    order = place(published_offering(org, "note", steps=[step]), org.people["business"])
    drive()
    (message,) = mail.outbox
    assert message.to == [org.people["business"].email]
    assert message.subject == f"{order.name} is ready"
    assert message.body == f"Order {order.number} on 4100."


def test_an_end_that_nobody_knows_waits_for_a_person(org, smtp):
    step = {
        "name": "Telling you",
        "connector": "email",
        "inputs": {"to": "${requester.email}", "subject": "Ready", "text": "It is."},
    }
    with scripted_mail_server(text=None) as (script, port):
        smtp(port)
        place(published_offering(org, "note", steps=[step]), org.people["business"])
        drive()
        assert Step.objects.get().state == Step.State.OUTCOME_UNKNOWN
        assert len(script.texts) == 1
