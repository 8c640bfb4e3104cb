"""A membership is added once, and only what we added is removed; against a real OpenLDAP and a hostile server."""

import struct
import threading
import time

import ldap3
import pytest

from provisioning.connectors import connector
from provisioning.connectors.base import BackEnd, Done, Failed, LeaseLost, Missing, Retry, Working
from tests.far_side.ldap import BASE, GROUP, PASSWORD, ROOT, SECOND, directory, scripted_directory
from tests.provisioning.calls import a_call, again, lost_lease

INPUTS = {"group": "database-users", "member": "maria"}
MARIA = f"uid=maria,ou=people,{BASE}"
FIRST = f"uid=first,ou=people,{BASE}"


def at(address, *, bind_dn=ROOT, password=PASSWORD, **config):
    config = {"bind_dn": bind_dn, "base_dn": BASE, "encryption": "none"} | config
    return BackEnd(slug="people", address=address, config=config, credentials={"password": password})


@pytest.fixture(autouse=True)
def _allowed(settings):
    settings.EGRESS_ALLOW = ["127.0.0.1", "localhost"]


@pytest.fixture
def back():
    return connector("ldap_group")


@pytest.fixture(scope="module")
def running():
    with directory() as server:
        yield server


@pytest.fixture
def server(running):
    yield running
    for member in running.members():
        if member != FIRST:
            running.change(ldap3.MODIFY_DELETE, member)


@pytest.fixture
def call(server):
    return a_call(inputs=INPUTS, back_end=at(f"ldap://127.0.0.1:{server.port}"))


def next_call(call, operation="start", **changes):
    return again(call, operation, back_end=call.back_end, **changes)


def make(back, call):
    """Start and go on as the engine does; give the answer and the reference that it kept."""
    answer = back.start(call)
    if isinstance(answer, Working):
        answer = back.last_operation(next_call(call, external_ref=answer.external_ref))
    return answer


def test_a_member_is_added_found_and_removed(back, server, call):
    answer = make(back, call)
    assert answer.outputs == {"group": GROUP, "member": MARIA}
    assert server.members() == [FIRST, MARIA]
    assert isinstance(back.describe(next_call(call, "describe")), Done)
    for _ in range(2):
        back.undo(next_call(call, "undo", external_ref=answer.external_ref))
    assert server.members() == [FIRST]
    with pytest.raises(Missing):
        back.describe(next_call(call, "describe"))


def test_who_was_a_member_before_stays_one(back, server, call):
    server.change(ldap3.MODIFY_ADD, MARIA)
    answer = make(back, call)
    assert "was in" in answer.detail
    back.undo(next_call(call, "undo", external_ref=answer.external_ref))
    assert server.members() == [FIRST, MARIA]


def test_a_lost_answer_is_told_apart_from_what_was_there_before(back, server, call):
    noted = back.start(call).external_ref
    for _ in range(2):  # the first answer is lost
        answer = back.last_operation(next_call(call, external_ref=noted))
    assert server.members() == [FIRST, MARIA]
    back.undo(next_call(call, "undo", external_ref=answer.external_ref))
    assert server.members() == [FIRST]


def test_a_start_that_only_looked_leaves_nothing_to_undo(back, server, call):
    noted = back.start(call).external_ref
    assert server.members() == [FIRST]
    back.undo(next_call(call, "undo", external_ref=noted))
    assert "Nothing" in back.undo(next_call(call, "undo", external_ref="")).detail
    assert server.members() == [FIRST]


def test_groups_that_hold_user_names_get_them(back, server, call):
    inputs = {"group": "posix", "member": "omar", "attribute": "memberUid"}
    made = next_call(call, inputs=inputs)
    answer = make(back, made)
    assert server.members(SECOND, "memberUid") == ["omar"]
    back.undo(next_call(made, "undo", external_ref=answer.external_ref))
    assert server.members(SECOND, "memberUid") == []


def test_whole_names_are_taken_where_they_lie_below_the_base(back, server, call):
    make(back, next_call(call, inputs={"group": GROUP, "member": MARIA}))
    assert server.members() == [FIRST, MARIA]
    for wrong in ("uid=maria,dc=elsewhere", "dc=example", "no=such=name", "uid=x+,dc=example"):
        with pytest.raises(Failed):
            back.start(next_call(call, inputs=INPUTS | {"member": wrong}))


@pytest.mark.parametrize(
    "typed",
    ["*", "maria)(uid=*", "maria\\2a", "x" * 501, "", "  ", "mar\0ia", None, 7, "nobody", "$(touch canary)", "{0}%s"],
)
def test_a_hostile_name_is_data(back, server, call, typed):
    with pytest.raises(Failed) as refused:
        back.start(next_call(call, inputs=INPUTS | {"member": typed}))
    assert refused.value.left_nothing
    assert server.members() == [FIRST]


@pytest.mark.parametrize(
    ("inputs", "part"),
    [
        ({"group": "nobodys"}, "no group “nobodys”"),
        ({"group": "twice"}, "several entries"),
        ({"attribute": "member)("}, "name of an attribute"),
        ({"attribute": "userPassword"}, "The directory says"),
        ({"group": MARIA}, "The directory says: objectClassViolation"),
    ],
)
def test_what_the_directory_cannot_do_is_said(back, call, inputs, part):
    with pytest.raises(Failed, match=part):
        make(back, next_call(call, inputs=INPUTS | inputs))


def test_who_may_not_change_the_group_is_told(back, server):
    weak = at(f"ldap://127.0.0.1:{server.port}", bind_dn=f"uid=weak,ou=people,{BASE}")
    with pytest.raises(Failed, match="insufficientAccessRights"):
        make(back, a_call(inputs=INPUTS, back_end=weak))


def test_the_last_member_of_a_group_that_needs_one_calls_a_person(back, server, call):
    server.change(ldap3.MODIFY_ADD, MARIA)
    server.change(ldap3.MODIFY_DELETE, FIRST)
    try:
        with pytest.raises(Failed, match="objectClassViolation"):
            back.undo(next_call(call, "undo", external_ref=f"added {MARIA}"))
    finally:
        server.change(ldap3.MODIFY_ADD, FIRST)


def test_who_is_gone_from_the_directory_is_no_reason_not_to_undo(back, call):
    gone = next_call(call, "undo", inputs=INPUTS | {"member": "gone"}, external_ref=f"added uid=gone,ou=people,{BASE}")
    assert isinstance(back.undo(gone), Done)
    group_gone = next_call(call, "undo", inputs=INPUTS | {"group": "gone"}, external_ref=f"added {MARIA}")
    assert "no group" in back.undo(group_gone).detail


def test_a_change_that_does_not_concern_it_leaves_it(back, call):
    same = next_call(call, "update", before={"inputs": INPUTS}, external_ref="added x")
    assert back.update(same).external_ref == "added x"
    with pytest.raises(Failed, match="cannot be changed"):
        back.update(next_call(call, "update", before={"inputs": INPUTS | {"member": "omar"}}))


@pytest.mark.parametrize("operation", ["start", "last_operation", "undo", "update", "describe"])
def test_who_has_lost_the_lease_does_nothing(back, server, call, operation):
    with pytest.raises(LeaseLost):
        getattr(back, operation)(next_call(call, operation, lease=lost_lease(), external_ref=f"added {MARIA}"))
    assert server.members() == [FIRST]


def test_a_connection_is_encrypted_and_the_certificate_is_the_names(back, server):
    trusted = {"encryption": "start_tls", "ca_certificate": server.certificate}
    for address in (f"ldaps://localhost:{server.tls_port}", f"ldap://localhost:{server.port}"):
        answer = make(back, a_call(inputs=INPUTS, back_end=at(address, **trusted)))
        assert isinstance(answer, Done)
    for address, config in [
        (f"ldaps://localhost:{server.tls_port}", {"ca_certificate": ""}),
        (f"ldaps://127.0.0.1:{server.tls_port}", trusted),
        (f"ldap://127.0.0.1:{server.port}", trusted),
    ]:
        with pytest.raises(Retry, match="cannot be used"):
            back.start(a_call(inputs=INPUTS, back_end=at(address, **config)))


def test_a_wrong_password_is_no_reason_to_try_again(back, server):
    with pytest.raises(Failed, match="does not accept our name or password") as refused:
        back.start(a_call(inputs=INPUTS, back_end=at(f"ldap://127.0.0.1:{server.port}", password="wrong-one")))
    assert "wrong-one" not in str(refused.value)


@pytest.mark.parametrize(
    "back_end",
    [
        None,
        at(""),
        at("http://127.0.0.1"),
        at("ldap://127.0.0.1:99999"),
        at("ldap://127.0.0.1:1/ou=x"),
        at("ldap://127.0.0.1:1", bind_dn=""),
        at("ldap://127.0.0.1:1", password=""),
        at("ldap://127.0.0.1:1", encryption="tls"),
    ],
)
def test_a_back_end_that_cannot_be_used_is_told(back, back_end):
    with pytest.raises(Failed):
        back.start(a_call(inputs=INPUTS, back_end=back_end))


def test_a_server_that_may_not_be_reached_is_never_called(back, settings):
    called = []
    settings.EGRESS_ALLOW = []
    with scripted_directory(lambda *_: called.append(1)) as port, pytest.raises(Failed, match="not public"):
        back.start(a_call(inputs=INPUTS, back_end=at(f"ldap://127.0.0.1:{port}")))
    assert called == []


def test_a_server_that_is_down_is_tried_again(back):
    with pytest.raises(Retry):
        back.start(a_call(inputs=INPUTS, back_end=at("ldap://127.0.0.1:1")))


def hangs_up(connection, stop):
    """Reads and says nothing."""
    connection.recv(100)


def waits(connection, stop):
    """Reads and never answers."""
    stop.wait(30)


def drips(connection, stop):
    """Sends an answer that never ends, byte by byte."""
    connection.sendall(b"\x30\x84" + struct.pack("!I", 100_000))
    while not stop.wait(0.05):
        connection.sendall(b"\x02")


def floods(connection, stop):
    """Claims an answer of a gigabyte and begins to send it."""
    connection.sendall(b"\x30\x84" + struct.pack("!I", 2**30))
    while not stop.is_set():
        connection.sendall(b"x" * 65_536)


def garbles(connection, stop):
    """Answers with what is no LDAP."""
    connection.recv(100)
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n<html>")


def lies(connection, stop):
    """Answers with a message of another kind."""
    connection.recv(100)
    connection.sendall(bytes.fromhex("300c02010161070a010004000400") + bytes.fromhex("300502010164000a"))


@pytest.mark.parametrize("behave", [hangs_up, waits, drips, floods, garbles, lies])
def test_a_server_that_misbehaves_is_left_in_time(back, behave):
    with scripted_directory(behave) as port:
        call = a_call(inputs=INPUTS, back_end=at(f"ldap://127.0.0.1:{port}"), _ends_at=time.monotonic() + 1)
        began = time.monotonic()
        with pytest.raises(Retry):
            back.start(call)
        assert time.monotonic() - began < 3


def test_a_lost_lease_ends_the_call(back):
    with scripted_directory(waits) as port:
        call = a_call(inputs=INPUTS, back_end=at(f"ldap://127.0.0.1:{port}"))
        threading.Timer(0.3, call.lease.lose).start()
        with pytest.raises(LeaseLost):
            back.start(call)
