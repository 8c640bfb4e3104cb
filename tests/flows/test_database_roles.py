"""What the application role may do in the database: rows that say what happened can only be added and read."""

from contextlib import closing

import psycopg2
import pytest
from django.db import InternalError, connection
from psycopg2 import errors, sql

from core.management.commands.migrate import APPEND_ONLY
from tests.processes import application_url

pytestmark = pytest.mark.django_db

ALL = {"SELECT", "INSERT", "UPDATE", "DELETE"}
# Everything not listed here is an ordinary table.
ALLOWED = {
    **{table: {"SELECT", "INSERT"} for table in APPEND_ONLY},
    **{table: {"SELECT"} for table in ("django_migrations", "v_orders", "v_steps", "v_audit")},
}


@pytest.fixture
def as_application(db):
    """Run SQL as the application role."""
    with closing(psycopg2.connect(application_url())) as session:
        session.autocommit = True

        def run(statement):
            with session.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []

        yield run


def test_every_table_grants_what_the_list_says_and_no_more(as_application):
    granted = as_application(
        "SELECT relname, privilege FROM pg_class,"
        " unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS privilege"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'p', 'm')"
        " AND has_table_privilege(pg_class.oid, privilege)"
    )
    found: dict[str, set[str]] = {}
    for table, privilege in granted:
        found.setdefault(table, set()).add(privilege)
    assert len(found) > 30
    assert found == {table: ALLOWED.get(table, ALL) for table in found}
    assert set(ALLOWED) <= set(found)


def test_the_application_role_owns_nothing_and_makes_nothing(as_application):
    assert as_application("SELECT relname FROM pg_class WHERE pg_get_userbyid(relowner) = current_user") == []
    for statement in ("CREATE TABLE mine (id int)", "CREATE ROLE mine", "CREATE DATABASE mine"):
        with pytest.raises(errors.InsufficientPrivilege):
            as_application(statement)


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize("statement", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {}"])
def test_what_happened_cannot_be_changed_or_removed(as_application, table, statement):
    with connection.cursor() as cursor:
        cursor.execute("SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum = 1", [table])
        column = sql.Identifier(cursor.fetchone()[0])
    names = [sql.Identifier(table), column, column][: statement.count("{}")]
    with pytest.raises(errors.InsufficientPrivilege):
        as_application(sql.SQL(statement).format(*names))


@pytest.mark.parametrize("statement", ["UPDATE core_event SET actor = 'nobody'", "DELETE FROM core_event"])
def test_the_owner_cannot_change_what_happened_either(org, statement):
    with pytest.raises(InternalError, match="Cannot update or delete"), connection.cursor() as cursor:
        cursor.execute(statement)
