"""A record is made once, completed after a crash, and removed alone; against a real BIND and a hostile server."""

import base64
import threading
import time

import dns.rcode
import dns.tsig
import pytest

from provisioning.connectors import connector
from provisioning.connectors.base import BackEnd, Done, Failed, LeaseLost, Missing, Retry
from tests.far_side.dns import KEY, KEY_NAME, ZONE, name_server, scripted_name_server, signed, unsigned
from tests.provisioning.calls import a_call, again, lost_lease

INPUTS = {"zone": ZONE, "name": "campaign", "type": "A", "value": "192.0.2.7", "ttl": 60}
FQDN = f"campaign.{ZONE}"


def at(address, *, key=KEY, **config):
    return BackEnd(slug="dns", address=address, config={"key_name": KEY_NAME} | config, credentials={"key": key})


@pytest.fixture(autouse=True)
def _allowed(settings):
    settings.EGRESS_ALLOW = ["127.0.0.1"]


@pytest.fixture
def back():
    return connector("dns_record")


@pytest.fixture(scope="module")
def running():
    with name_server() as server:
        yield server


@pytest.fixture
def server(running):
    yield running
    for name in (FQDN, f"_greenlane.{FQDN}"):
        running.change(lambda update, name=name: update.delete(f"{name}."))


@pytest.fixture
def call(server):
    return a_call(inputs=INPUTS, back_end=at(server.address))


def next_call(call, operation, **changes):
    return again(call, operation, back_end=call.back_end, **changes)


def test_a_record_is_made_found_and_removed(back, server, call):
    answer = back.start(call)
    assert answer.outputs == {"fqdn": FQDN}
    assert server.records(FQDN) == ["192.0.2.7"]
    assert server.records(f"_greenlane.{FQDN}", "TXT") == [f'"greenlane={call.instance_id}"']
    assert isinstance(back.describe(next_call(call, "describe")), Done)
    back.undo(next_call(call, "undo"))
    assert server.records(FQDN) == server.records(f"_greenlane.{FQDN}", "TXT") == []
    with pytest.raises(Missing):
        back.describe(next_call(call, "describe"))
    assert "no record to remove" in back.undo(next_call(call, "undo")).detail


def test_a_second_start_finds_what_the_first_made(back, server, call):
    assert back.start(call) == back.start(next_call(call, "start"))
    assert server.records(FQDN) == ["192.0.2.7"]


def test_a_start_completes_a_half_and_undo_removes_it(back, server, call):
    mark = (f"_greenlane.{FQDN}.", 60, "TXT", f"greenlane={call.instance_id}")
    server.change(lambda update: update.add(*mark))
    back.start(call)
    assert server.records(FQDN) == ["192.0.2.7"]
    back.undo(next_call(call, "undo"))
    server.change(lambda update: update.add(*mark))
    back.undo(next_call(call, "undo"))
    assert server.records(f"_greenlane.{FQDN}", "TXT") == []


@pytest.mark.parametrize("kind", ["A", "TXT"])
def test_a_name_in_use_is_neither_taken_nor_removed(back, server, call, kind):
    server.change(lambda update: update.add(f"{FQDN}.", 60, kind, "192.0.2.1"))
    with pytest.raises(Failed, match="Greenlane did not make") as refused:
        back.start(call)
    assert refused.value.left_nothing
    back.undo(next_call(call, "undo"))
    assert len(server.records(FQDN, kind)) == 1


def test_a_name_of_another_service_is_neither_taken_nor_removed(back, server, call):
    back.start(call)
    other = a_call(inputs=INPUTS, back_end=call.back_end)
    with pytest.raises(Failed, match="Greenlane did not make"):
        back.start(other)
    back.undo(next_call(other, "undo"))
    assert server.records(FQDN) == ["192.0.2.7"]


def test_of_two_services_that_want_a_name_at_once_one_gets_it(back, server):
    calls = [a_call(inputs=INPUTS, back_end=at(server.address)) for _ in range(6)]
    ends = []

    def start(call):
        try:
            ends.append(back.start(call))
        except Failed as error:
            ends.append(error)

    threads = [threading.Thread(target=start, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [isinstance(end, Done) for end in ends].count(True) == 1
    assert len(server.records(f"_greenlane.{FQDN}", "TXT")) == 1


def test_undo_leaves_what_somebody_added_beside_it(back, server, call):
    back.start(call)
    server.change(lambda update: update.add(f"{FQDN}.", 60, "A", "192.0.2.99"))
    undoing = next_call(call, "undo")
    back.undo(undoing)
    assert server.records(FQDN) == ["192.0.2.99"]
    assert undoing.lines == [f"Other records remain at {FQDN}."]


def test_two_records_of_one_service_share_a_name(back, server, call):
    back.start(call)
    six = next_call(call, "start", inputs=INPUTS | {"type": "AAAA", "value": "2001:db8::7"})
    back.start(six)
    back.undo(next_call(six, "undo"))
    assert server.records(FQDN) == ["192.0.2.7"]
    back.undo(next_call(call, "undo"))
    assert server.records(f"_greenlane.{FQDN}", "TXT") == []


@pytest.mark.parametrize(
    ("kind", "pair"),
    [
        ("AAAA", ("2001:DB8::0:7", "2001:db8::7")),
        ("CNAME", ("db.internal.example", "db.internal.example.")),
        ("TXT", ('say "x"; \\ $(touch canary)', '"say \\"x\\"; \\\\ $(touch canary)"')),
    ],
)
def test_each_type_holds_its_value_as_data(back, server, call, kind, pair):
    value, shown = pair
    made = next_call(call, "start", inputs=INPUTS | {"type": kind, "value": value})
    back.start(made)
    assert server.records(FQDN, kind) == [shown]
    back.undo(next_call(made, "undo"))
    assert server.records(FQDN, kind) == []


def test_a_long_text_is_kept_whole(back, server, call):
    made = next_call(call, "start", inputs=INPUTS | {"type": "TXT", "value": "ä" * 300})
    back.start(made)
    (record,) = server.records(FQDN, "TXT")
    assert record.count('"') == 6
    assert isinstance(back.describe(next_call(made, "describe")), Done)
    back.undo(next_call(made, "undo"))


def test_a_change_replaces_value_and_name(back, server, call):
    back.start(call)
    moved = next_call(call, "update", inputs=INPUTS | {"value": "192.0.2.8"}, before={"inputs": INPUTS})
    for _ in range(2):
        back.update(moved)
    assert server.records(FQDN) == ["192.0.2.8"]
    renamed = next_call(call, "update", inputs=INPUTS | {"name": "other"}, before={"inputs": moved.inputs})
    for _ in range(2):
        back.update(renamed)
    assert (server.records(FQDN), server.records(f"other.{ZONE}")) == ([], ["192.0.2.7"])
    back.undo(next_call(renamed, "undo"))
    assert server.records(f"other.{ZONE}") == []


def test_a_change_of_what_is_gone_fails(back, call):
    with pytest.raises(Missing):
        back.update(next_call(call, "update", inputs=INPUTS | {"value": "192.0.2.8"}, before={"inputs": INPUTS}))


@pytest.mark.parametrize("operation", ["start", "undo", "update", "describe"])
def test_who_has_lost_the_lease_does_nothing(back, server, call, operation):
    with pytest.raises(LeaseLost):
        getattr(back, operation)(next_call(call, operation, lease=lost_lease()))
    assert server.records(FQDN) == []


@pytest.mark.parametrize(
    ("back_end", "part"),
    [
        ({"key": base64.b64encode(b"wrong" * 8).decode()}, "does not accept the key"),
        ({"key_name": "nobody"}, "does not accept the key"),
        ({"key_name": "reader"}, "refuses to change the zone"),
    ],
)
def test_a_key_that_the_server_does_not_take_is_no_reason_to_try_again(back, server, back_end, part):
    with pytest.raises(Failed, match=part):
        back.start(
            next_call(call, "start") if not back_end else a_call(inputs=INPUTS, back_end=at(server.address, **back_end))
        )
    assert server.records(FQDN) == []


def test_a_zone_that_the_server_does_not_have_is_refused(back, server):
    with pytest.raises(Failed, match="does not serve the zone"):
        back.start(a_call(inputs=INPUTS | {"zone": "else.example"}, back_end=at(server.address)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"zone": ""},
        {"zone": "apps..example"},
        {"name": ZONE},
        {"name": "*"},
        {"name": "a b"},
        {"name": "x" * 64},
        {"name": ".".join(["x" * 60] * 4)},
        {"name": "a\nb"},
        {"name": None},
        {"type": "MX"},
        {"type": ["A"]},
        {"value": ""},
        {"value": "300.1.1.1"},
        {"value": "2001:db8::1"},
        {"value": 7},
        {"type": "AAAA"},
        {"type": "CNAME", "value": "no name"},
        {"type": "TXT", "value": "x" * 2001},
        {"ttl": 1},
        {"ttl": True},
        {"ttl": "300"},
    ],
)
def test_what_is_no_record_is_refused_before_the_server_is_called(back, wrong):
    with pytest.raises(Failed) as refused:
        back.start(a_call(inputs=INPUTS | wrong, back_end=at("127.0.0.1:1")))
    assert refused.value.left_nothing


@pytest.mark.parametrize(
    "back_end",
    [
        None,
        at(""),
        at("https://127.0.0.1/x"),
        at("127.0.0.1:99999"),
        at("127.0.0.1:1", key="no base64!"),
        at("127.0.0.1:1", key=""),
        at("127.0.0.1:1", algorithm="hmac-md5"),
        at("127.0.0.1:1", key_name=""),
    ],
)
def test_a_back_end_that_cannot_be_used_is_told(back, back_end):
    with pytest.raises(Failed) as refused:
        back.start(a_call(inputs=INPUTS, back_end=back_end))
    assert refused.value.left_nothing


def test_a_server_that_may_not_be_reached_is_never_called(back, settings):
    settings.EGRESS_ALLOW = []
    with scripted_name_server(signed) as (asked, port), pytest.raises(Failed, match="not public"):
        back.start(a_call(inputs=INPUTS, back_end=at(f"127.0.0.1:{port}")))
    assert asked == []


def test_a_server_that_is_down_is_tried_again(back):
    with pytest.raises(Retry, match="no usable answer"):
        back.start(a_call(inputs=INPUTS, back_end=at("127.0.0.1:1")))


OTHER_KEY = dns.tsig.Key(KEY_NAME, base64.b64encode(b"o" * 32).decode(), "hmac-sha256")


@pytest.mark.parametrize(
    ("reply", "ends"),
    [
        (lambda question: signed(question, dns.rcode.SERVFAIL), Retry),
        (lambda question: signed(question, dns.rcode.REFUSED), Failed),
        (lambda question: unsigned(question, dns.rcode.REFUSED), Retry),
        (lambda question: signed(question, dns.rcode.NOTZONE), Failed),
        (lambda question: signed(question, dns.rcode.NOTAUTH, error=dns.rcode.BADTIME), Failed),
        (unsigned, Retry),
        (lambda question: signed(question, key=OTHER_KEY), Retry),
        (lambda _question: b"\0" * 40, Retry),
        (lambda _question: b"", Retry),
        (lambda question: signed(question)[:-3], Retry),
        (signed, Retry),  # it says yes, and shows nothing
    ],
)
def test_whatever_a_server_answers_ends_in_a_sentence(back, reply, ends):
    with scripted_name_server(reply) as (_, port), pytest.raises(ends) as ended:
        back.start(a_call(inputs=INPUTS, back_end=at(f"127.0.0.1:{port}")))
    assert str(ended.value)
    assert KEY not in str(ended.value)


@pytest.mark.parametrize("drip", [True, False])
def test_a_server_that_is_slow_is_left_in_time(back, drip):
    with scripted_name_server(signed if drip else lambda _question: None, drip=drip) as (_, port):
        call = a_call(inputs=INPUTS, back_end=at(f"127.0.0.1:{port}"), _ends_at=time.monotonic() + 0.5)
        began = time.monotonic()
        with pytest.raises(Retry):
            back.start(call)
        assert time.monotonic() - began < 2


def test_a_lost_lease_ends_the_call(back):
    with scripted_name_server(lambda _question: None) as (_, port):
        call = a_call(inputs=INPUTS, back_end=at(f"127.0.0.1:{port}"))
        threading.Timer(0.3, call.lease.lose).start()
        with pytest.raises(LeaseLost):
            back.start(call)
