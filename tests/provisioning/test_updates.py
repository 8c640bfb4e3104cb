"""What real back ends do when a service is changed, and what they say of one that is gone."""

from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest
from psycopg2 import extensions

from provisioning.connectors import connector
from provisioning.connectors.base import Done, LeaseLost, Missing, Working
from tests.provisioning.back_ends import BACK_ENDS
from tests.provisioning.calls import a_call, again, lost_lease

KINDS = ["git_repository", "postgresql", "redis_acl"]


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def back(kind):
    return connector(kind)


@pytest.fixture
def call(back):
    """A first call for a new instance; what came of it is taken away after the test."""
    made = a_call()
    yield made
    remove(back, made)


def remove(back, call):
    answer = back.undo(again(call, "undo"))
    while isinstance(answer, Working):
        answer = back.last_operation(again(call, "undo", external_ref=answer.external_ref))


def test_changed_it_stays_in_use_and_a_second_time_changes_nothing(kind, back, call):
    made = back.start(call)
    for _ in range(2):
        assert isinstance(back.update(again(call, "update")), Done)
    assert BACK_ENDS[kind]().use(made.outputs, call.secrets["password"])


def test_what_is_gone_is_missing_and_no_change_makes_it_again(kind, back, call):
    back.start(call)
    remove(back, call)
    with pytest.raises(Missing):
        back.describe(again(call, "describe"))
    with pytest.raises(Missing):
        back.update(again(call, "update"))
    assert BACK_ENDS[kind]().things(call) == []


def test_who_has_lost_the_lease_changes_nothing(back, call):
    back.start(call)
    with pytest.raises(LeaseLost):
        back.update(again(call, "update", lease=lost_lease()))


def test_another_plan_is_another_limit_of_connections(settings):
    back, call = connector("postgresql"), a_call(inputs={"connection_limit": 5})
    outputs = back.start(call).outputs
    try:
        back.update(again(call, "update", inputs={"connection_limit": 7, "statement_timeout_seconds": 2}))
        account = {"user": outputs["username"], "password": call.secrets["password"], "dbname": outputs["database"]}
        own = psycopg2.connect(extensions.make_dsn(settings.POSTGRESQL_BACKEND_URL, **account))
        with own.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            assert cursor.fetchone() == ("2s",)
            cursor.execute("SELECT rolconnlimit FROM pg_roles WHERE rolname = user")
            assert cursor.fetchone() == (7,)
        own.close()
    finally:
        remove(back, call)


def test_another_default_branch_leaves_the_repository_as_it_is():
    back, call = connector("git_repository"), a_call(inputs={"default_branch": "main"})
    place = Path(urlsplit(back.start(call).outputs["clone_url"]).path)
    try:
        answer = back.update(again(call, "update", inputs={"default_branch": "trunk"}))
        assert answer.outputs == {"default_branch": "trunk"}
        assert (place / "HEAD").read_text().strip() == "ref: refs/heads/trunk"
    finally:
        remove(back, call)
