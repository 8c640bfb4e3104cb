"""Signed news from back ends, over real HTTP."""

import base64
import hashlib
import hmac
import json
import threading
import time
from http.client import HTTPConnection

import pytest
from django.core.cache import cache
from django.core.handlers.wsgi import WSGIHandler
from django.core.servers.basehttp import ThreadedWSGIServer
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connections
from django.test.testcases import QuietWSGIRequestHandler

import catalog.services as catalog
from core.models import Event
from provisioning.models import Callback, Step
from provisioning.services import claims, execution
from tests.factories import published_offering
from tests.far_side.rest import RestBackEnd
from tests.provisioning.engine import drive, fresh, make_due, place, run_of, step_of

OLD, NEW, OTHER = (
    b"old-secret-of-32-bytes----------",
    b"new-secret-of-32-bytes----------",
    b"nobody-knows-this-one-----------",
)


def written(*keys):
    """Write secrets as the back end's row holds them."""
    return " ".join(f"whsec_{base64.b64encode(key).decode()}" for key in keys)


@pytest.fixture
def rest(settings):
    """The far side that is called first, and calls back."""
    settings.EGRESS_ALLOW = ["127.0.0.1"]
    with RestBackEnd() as server:
        yield server


@pytest.fixture
def back_end(org, rest):
    """A back end with two secrets in force, as during a rotation; and how its row is saved again."""

    def save(slug="things", secrets=None, row=None):
        return catalog.save_back_end(
            row, slug=slug, name="Things", connector="http", address=rest.address, config={},
            credentials={"callback_secrets": written(OLD, NEW) if secrets is None else secrets},
            limit=None, is_active=True, actor=org.admin,
        )  # fmt: skip

    return save


@pytest.fixture
def waiting(org, back_end):
    """A step that waits for news."""
    back_end()
    return waits_for_news(org)


def waits_for_news(org, slug="thing", **inputs):
    """Order a service whose back end calls back, and let it be begun; give the order."""
    inputs = {"path": "/things", "wait_for_callback": True, "external_ref": "/id", "undo": {"path": "/x"}} | inputs
    step = {"name": "Making it", "connector": "http", "inputs": inputs, "back_end": "things"}
    order = place(published_offering(org, slug, steps=[step]), org.business)
    execution.execute(claims.claim())
    assert step_of(order).state == Step.State.POLLING
    return order


def signature(key, message, at, raw):
    """Sign as Standard Webhooks says, written here once more on purpose."""
    digest = hmac.new(key, f"{message}.{at}.".encode() + raw, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


class Site(ThreadedWSGIServer):
    """Serves the site from the test's own connection, which is not the server's to close."""

    def _close_connections(self):
        pass


@pytest.fixture
def site(db):
    """The site on a port of its own, within this test's transaction."""
    shared = connections["default"]
    shared.inc_thread_sharing()
    for signal in (request_started, request_finished):  # they would close it
        signal.disconnect(close_old_connections)
    with Site(("127.0.0.1", 0), QuietWSGIRequestHandler, connections_override={"default": shared}) as server:
        server.set_app(WSGIHandler())
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(5)
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)
    shared.dec_thread_sharing()


@pytest.fixture
def send(site):
    """Send one message over a socket of its own; give status and body."""

    def sent(news, *, key=NEW, message="msg-1", at=None, raw=None, sign=None, slug="things", **headers):
        raw = json.dumps(news).encode() if raw is None else raw
        at = str(int(time.time())) if at is None else str(at)
        signed = signature(key, message, at, raw) if sign is None else sign
        said = {"webhook-id": message, "webhook-timestamp": at, "webhook-signature": signed}
        said |= {"Content-Type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        caller = HTTPConnection("127.0.0.1", site.server_port, timeout=10)
        said = {name: value for name, value in said.items() if value is not None}
        caller.request("POST", f"/api/v1/callbacks/{slug}/", raw, said)
        answer = caller.getresponse()
        body = json.loads(answer.read())
        caller.close()
        return answer.status, body

    return sent


def news_of(order, **more):
    """What a back end says when it has done it."""
    return {"idempotency_key": str(step_of(order).idempotency_key), "status": "succeeded"} | more


def test_news_of_success_ends_the_step_with_what_the_back_end_gave(org, back_end, send):
    back_end()
    order = waits_for_news(org, outputs={"host": "/where/host"})
    due_before = step_of(order).next_run_at
    assert send(news_of(order, outputs={"where": {"host": "h"}}, detail="Ready.")) == (200, {"result": "taken"})
    assert step_of(order).next_run_at < due_before
    execution.execute(claims.claim())
    assert run_of(order).state == "succeeded"
    assert step_of(order).outputs == {"host": "h"}
    assert Event.objects.get(name="step.news").facts == {"back_end": "things", "status": "succeeded"}


def test_news_of_failure_undoes_what_was_begun(waiting, send, rest):
    assert send(news_of(waiting, status="failed", detail="No room."))[0] == 200
    drive()
    assert run_of(waiting).state == "compensated"
    assert step_of(waiting).error == "The back end says: No room."
    assert ("DELETE", "/x") in rest.made()


def test_news_of_work_is_shown_and_the_step_waits_on(waiting, send):
    assert send(news_of(waiting, status="working", detail="Half way."))[0] == 200
    execution.execute(claims.claim())
    assert (step_of(waiting).state, step_of(waiting).detail) == ("polling", "Half way.")
    assert send(news_of(waiting), message="msg-2")[0] == 200
    drive()
    assert run_of(waiting).state == "succeeded"


def test_news_before_the_first_answer_counts_as_well(org, back_end, send, rest):
    back_end()
    inputs = {"path": "/things", "wait_for_callback": True, "undo": {"path": "/x"}}
    step = {"name": "Making it", "connector": "http", "inputs": inputs, "back_end": "things"}
    order = place(published_offering(org, steps=[step]), org.business)
    claimed = claims.claim()
    assert send(news_of(order)) == (200, {"result": "taken"})
    execution.execute(claimed)
    make_due()
    execution.execute(claims.claim())
    assert run_of(order).state == "succeeded"


def test_news_may_name_the_thing_as_the_back_end_does(waiting, send):
    assert send({"external_ref": step_of(waiting).external_ref, "status": "succeeded"})[1] == {"result": "taken"}
    assert Callback.objects.get().step_id == step_of(waiting).pk


def test_news_of_what_is_polled_has_it_asked_at_once_and_the_answer_counts(org, back_end, send, rest):
    back_end()
    rest.polls = 1
    poll = {"path": "location", "every": 3000, "status": "/state", "done": ["done"]}
    secret = {"password": "/admin/password"}
    order = waits_for_news(org, path="/slow", poll=poll, outputs={"host": "/host"}, secret_outputs=secret)
    assert send({"external_ref": "thing-1-0", "status": "succeeded", "outputs": {"host": "forged"}})[1] == {
        "result": "taken"
    }
    execution.execute(claims.claim())
    assert run_of(order).state == "succeeded"
    assert step_of(order).outputs == {"host": "thing-1-0.example"}


def test_passwords_cannot_come_by_news(org, back_end, send):
    back_end()
    order = waits_for_news(org, secret_outputs={"password": "/password"})
    send(news_of(order, outputs={"password": "in-the-clear"}))
    drive()
    assert "cannot come by a callback" in step_of(order).error


@pytest.mark.parametrize("key", [OLD, NEW])
def test_either_secret_in_force_may_sign(waiting, send, key):
    assert send(news_of(waiting), key=key) == (200, {"result": "taken"})


def test_of_several_signatures_one_has_to_fit(waiting, send):
    news = news_of(waiting)
    at, raw = int(time.time()), json.dumps(news).encode()
    several = " ".join(["v1a,AAAA", signature(OTHER, "msg-1", at, raw), "x", "", signature(OLD, "msg-1", at, raw)])
    assert send(news, at=at, sign=several) == (200, {"result": "taken"})


def test_the_same_message_counts_once(waiting, send):
    news = news_of(waiting, status="working")
    assert send(news) == (200, {"result": "taken"})
    due = step_of(waiting).next_run_at
    assert send(news) == (200, {"result": "repeated"})
    assert send(news_of(waiting, status="failed")) == (200, {"result": "repeated"})
    assert (Callback.objects.count(), step_of(waiting).next_run_at) == (1, due)
    execution.execute(claims.claim())
    assert run_of(waiting).state == "running"


@pytest.mark.parametrize("seconds", [-360, -301, 302, 3600])
def test_a_message_of_another_time_is_refused(waiting, send, seconds):
    assert send(news_of(waiting), at=int(time.time()) + seconds)[0] == 401
    assert Callback.objects.count() == 0


@pytest.mark.parametrize("seconds", [-290, 290])
def test_clocks_may_differ_by_five_minutes(waiting, send, seconds):
    assert send(news_of(waiting), at=int(time.time()) + seconds)[0] == 200


def test_a_message_replayed_after_six_minutes_with_its_own_signature_is_refused(waiting, send):
    news, then = news_of(waiting), int(time.time()) - 360
    raw = json.dumps(news).encode()
    assert send(news, at=then, sign=signature(NEW, "msg-1", then, raw))[0] == 401
    # Nor does a fresh time help without a fresh signature.
    assert send(news, sign=signature(NEW, "msg-1", then, raw))[0] == 401


def test_one_altered_byte_is_refused(waiting, send):
    news = news_of(waiting)
    raw = json.dumps(news).encode()
    at = int(time.time())
    signed = signature(NEW, "msg-1", at, raw)
    assert send(news, at=at, sign=signed, raw=raw.replace(b"succeeded", b"succeeced"))[0] == 401
    assert send(news, at=at, sign=signed, message="msg-2")[0] == 401
    assert send(news, at=at + 1, sign=signed)[0] == 401
    assert send(news, at=at, sign=signed)[0] == 200


def test_a_signature_over_the_same_json_written_otherwise_is_refused(waiting, send):
    news, at = news_of(waiting), int(time.time())
    signed = signature(NEW, "msg-1", at, json.dumps(news, separators=(",", ":")).encode())
    assert send(news, at=at, sign=signed)[0] == 401


def test_a_time_signed_with_a_secret_of_before_is_refused(waiting, back_end, send):
    row = catalog.opened("things")[0]
    back_end(row=row, secrets=written(NEW))
    assert send(news_of(waiting), key=OLD)[0] == 401
    assert send(news_of(waiting), key=NEW)[0] == 200


@pytest.mark.parametrize(
    "changed",
    [
        {"message": ""},
        {"webhook_id": None},
        {"webhook_timestamp": None},
        {"webhook_signature": None},
        {"sign": ""},
        {"sign": "v1,"},
        {"sign": "v1"},
        {"sign": "v1,AAAA"},
        {"sign": "v1," + "A" * 9000},
        {"sign": "ü"},
        {"at": "now"},
        {"at": "-1"},
        {"at": "1e9"},
        {"at": "9" * 30},
        {"at": "²"},
        {"key": OTHER},
        {"key": b""},
    ],
)
def test_a_message_that_nobody_known_has_signed_is_refused_alike(waiting, send, changed):
    status, body = send(news_of(waiting), **changed)
    assert (status, body["type"]) == (401, "urn:greenlane:problem:not-signed")
    assert Callback.objects.count() == 0


def test_an_unknown_back_end_one_without_secrets_and_a_wrong_signature_get_the_same_answer(waiting, back_end, send):
    back_end("silent", "")
    back_end("broken", "whsec_§§§ whsec_")
    answers = [
        send(news_of(waiting), key=key, slug=slug)
        for slug in ("nobody", "silent", "broken", "things")
        for key in (OTHER, b"")
    ]
    assert len({json.dumps(answer) for answer in answers}) == 1


def test_a_back_end_whose_credentials_cannot_be_read_is_believed_nothing(waiting, send, settings):
    settings.ENCRYPTION_KEYS = ["A" * 43 + "="]
    assert send(news_of(waiting))[0] == 401


def test_the_news_of_one_back_end_is_not_about_the_steps_of_another(waiting, back_end, send):
    back_end("other")
    news = news_of(waiting)
    assert send(news, slug="other") == (200, {"result": "unknown"})
    assert send({"external_ref": step_of(waiting).external_ref, "status": "failed"}, slug="other")[1] == {
        "result": "unknown"
    }
    assert Callback.objects.count() == 0


def test_news_of_a_step_that_nobody_knows_or_that_has_ended_does_nothing(waiting, send):
    lost = {"idempotency_key": "7b1c2f7e-5a2c-4d0a-9f5e-2f4f2f6f8a10", "status": "failed"}
    assert send(lost) == (200, {"result": "unknown"})
    assert send({"external_ref": "%", "status": "failed"})[1] == {"result": "unknown"}
    assert send(news_of(waiting), message="msg-2")[1] == {"result": "taken"}
    drive()
    assert send(news_of(waiting, status="failed"), message="msg-3")[1] == {"result": "unknown"}
    assert run_of(waiting).state == "succeeded"


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"[]", b"7", b'"x"', b"{}", b'{"status": "succeeded"}', b'{"external_ref": "", "status": "failed"}',
        b'{"external_ref": "x", "status": "done"}', b'{"external_ref": 7, "status": "failed"}',
        b'{"idempotency_key": "x", "status": "failed"}', b'{"external_ref": "x", "status": "failed", "outputs": []}',
        b'{"external_ref": "x", "status": "failed", "detail": 7}',
        b'{"external_ref": "x", "status": "failed", "a": NaN}',
        b'{"external_ref": "\\u0000", "status": "failed"}', b'{"external_ref": "\\ud800", "status": "failed"}',
        b'{"external_ref": "x", "external_ref": "y", "status": "failed"}', b"\xff\xfe", b"[" * 3000,
        b'{"external_ref": "' + b"x" * 201 + b'", "status": "failed"}',
    ],
)  # fmt: skip
def test_signed_nonsense_is_bad_input_and_burns_no_id(waiting, send, raw):
    status, body = send(None, raw=raw)
    assert (status, body["type"]) == (400, "urn:greenlane:problem:invalid")
    assert Callback.objects.count() == 0
    assert send(news_of(waiting))[1] == {"result": "taken"}


def test_an_id_that_cannot_be_kept_is_bad_input(waiting, send):
    assert send(news_of(waiting), message="m" * 201)[0] == 400


def test_a_body_that_no_news_needs_is_too_large_before_anything_is_checked(waiting, send):
    assert send(None, raw=b"x" * (64 * 1024 + 1))[0] == 413
    padded = json.dumps(news_of(waiting)).encode()
    assert send(None, raw=padded + b" " * (64 * 1024 - len(padded)))[0] == 200


def test_fields_that_nobody_reads_are_not_kept(waiting, send):
    send(news_of(waiting, type="thing.made", timestamp="2026-11-24T00:00:00Z", data={"secret": "x"}))
    assert Callback.objects.get().body == {"status": "succeeded"}


def test_neither_session_nor_token_nor_origin_matters(waiting, send, api):
    authorization = api("admin")._credentials["HTTP_AUTHORIZATION"]
    assert send(news_of(waiting), key=OTHER, Authorization=authorization)[0] == 401
    assert send(news_of(waiting), Authorization="Bearer gl_wrong", Origin="https://evil.example")[0] == 200


def test_a_storm_of_messages_is_told_to_wait(waiting, send, monkeypatch):
    monkeypatch.setattr("provisioning.api.callbacks.CallbackThrottle.rate", "3/min")
    answers = [send(news_of(waiting), key=OTHER)[0] for _ in range(5)]
    cache.clear()
    assert answers == [401, 401, 401, 429, 429]


def test_news_while_a_worker_asks_is_not_lost(waiting, send):
    make_due()
    claimed = claims.claim()
    assert send(news_of(waiting))[1] == {"result": "taken"}
    assert fresh(claimed).lease_token == claimed.lease_token
    execution.execute(claimed)
    assert run_of(waiting).state == "succeeded"
