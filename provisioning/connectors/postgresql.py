"""A database and a role of its own on a PostgreSQL server (15 to 18).

Greenlane's role there has CREATEDB and CREATEROLE and is no superuser. What it makes carries the
instance's id in a comment: anything else of the same name is somebody else's and is never touched.
"""

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from psycopg2 import extensions, sql

from provisioning.connectors.base import Call, Connector, Done, Failed, Missing, Retry
from provisioning.connectors.names import name_for
from provisioning.connectors.postgresql_session import Session, session

DEFAULT_CONNECTIONS, MOST_CONNECTIONS = 10, 1000
DEFAULT_STATEMENT_SECONDS, MOST_STATEMENT_SECONDS = 300, 86_400
# What PostgreSQL writes for a database whose removal was interrupted: it can only be dropped.
HALF_DROPPED = -2

# A database that the owner of a delivered one opened to everybody is his affair.
OPEN_TO_ALL = """
    SELECT string_agg(quote_ident(datname), ', ' ORDER BY datname) FROM pg_database AS database
    WHERE datallowconn AND has_database_privilege('public', database.oid, 'CONNECT')
      AND coalesce(shobj_description(datdba, 'pg_authid'), '') NOT LIKE 'Greenlane service %%'
"""
FIND_ROLE = "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s"
FIND_DATABASE = """
    SELECT pg_get_userbyid(datdba), shobj_description(oid, 'pg_database'), datconnlimit
    FROM pg_database WHERE datname = %s
"""


@dataclass(frozen=True)
class Names:
    """What an instance has on the server: a role and a database of one name, and the mark that both carry."""

    name: str
    mark: str

    @property
    def identifier(self) -> sql.Identifier:
        """The name as SQL may hold it."""
        return sql.Identifier(self.name)


def names_of(call: Call) -> Names:
    """Derive the names of the call's instance: the same ones at every attempt."""
    return Names(name_for(call.instance_name, call.instance_id), f"Greenlane service {call.instance_id}")


class PostgreSQL(Connector):
    """Delivers a database that its role alone may open."""

    idempotency = "lookup"

    def start(self, call: Call) -> Done:
        """Make role and database, or go on from whatever an earlier attempt left."""
        limits = _limits(call)
        names = names_of(call)
        with session(call, _address()) as server:
            _refuse_an_open_server(server)
            has_role, has_database = _look(server, names)
            _write_role(server, names, call.secrets["password"], limits, exists=has_role)
            if not has_database:
                # Nobody may connect before the rights are set: there is no moment at which others could.
                server.run(
                    "CREATE DATABASE {name} OWNER {name} TEMPLATE template0 ALLOW_CONNECTIONS false",
                    name=names.identifier,
                )
                call.log(f"Made the database {names.name}.")
            _close_to_others(server, names)
        address = extensions.parse_dsn(_address())
        return Done(
            outputs={
                "host": address.get("host", "localhost"),
                "port": int(address.get("port", 5432)),
                "database": names.name,
                "username": names.name,
            },
            detail=f"Database {names.name}, for up to {limits['connection_limit']} connections at a time.",
            external_ref=names.name,
        )

    def update(self, call: Call) -> Done:
        """Give the role the limits of the call; connections that are open stay open."""
        limits = _limits(call)
        names = names_of(call)
        with session(call, _address()) as server:
            has_role, has_database = _look(server, names)
            if not (has_role and has_database):
                raise Missing(f"There is no database {names.name}.", left_nothing=True)
            _write_role(server, names, call.secrets["password"], limits, exists=True)
        return Done(
            detail=f"Database {names.name}, for up to {limits['connection_limit']} connections at a time.",
            external_ref=names.name,
        )

    def undo(self, call: Call) -> Done:
        """End the sessions, drop database and role. What is not ours stays."""
        names = names_of(call)
        with session(call, _address()) as server:
            if server.value(FIND_ROLE, [names.name]) != names.mark:
                return Done(detail="There was no database to remove.")
            if server.value(FIND_DATABASE, [names.name]) == names.name:
                _drop_database(server, names)
                call.log(f"Removed the database {names.name}.")
            server.run("DROP ROLE {name}", name=names.identifier)
        return Done(detail=f"Removed the database {names.name} and its user.", external_ref=names.name)

    def describe(self, call: Call) -> Done:
        """Log in with the delivered password and ask for one row."""
        names = names_of(call)
        with session(call, _address()) as server:
            has_role, has_database = _look(server, names)
        if not (has_role and has_database):
            raise Missing(f"There is no database {names.name}.")
        secret = {"user": names.name, "password": call.secrets["password"], "dbname": names.name}
        with session(call, extensions.make_dsn(_address(), **secret), purpose="check") as own:
            own.value("SELECT 1", [])
        return Done(detail="Signed in with the new password.")

    def rotate(self, call: Call) -> Done:
        """Set the password of the call; sessions that are open stay open."""
        names = names_of(call)
        with session(call, _address()) as server:
            has_role, _ = _look(server, names)
            if not has_role:
                raise Failed(f"There is no user {names.name}.")
            server.run(
                "ALTER ROLE {name} PASSWORD {password}",
                name=names.identifier,
                password=sql.Literal(server.verifier(call.secrets["password"], names.name)),
            )
        return Done(detail="The new password is set; connections that are open stay open.")


def _address() -> str:
    if not settings.POSTGRESQL_BACKEND_URL:
        raise Failed("No PostgreSQL server is set up to deliver databases: set POSTGRESQL_BACKEND_URL.")
    return str(settings.POSTGRESQL_BACKEND_URL)


def _limits(call: Call) -> dict[str, int]:
    bounds = {
        "connection_limit": (DEFAULT_CONNECTIONS, 1, MOST_CONNECTIONS),
        "statement_timeout_seconds": (DEFAULT_STATEMENT_SECONDS, 0, MOST_STATEMENT_SECONDS),
    }
    return {name: _whole(call.inputs.get(name), name, *bound) for name, bound in bounds.items()}


def _whole(value: Any, name: str, default: int, least: int, most: int) -> int:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise Failed(f"{name} must be a whole number from {least} to {most}.")
    return value


def _refuse_an_open_server(server: Session) -> None:
    """Deliver nothing where a new role could open databases that are not its own."""
    open_ones = server.value(OPEN_TO_ALL, [])
    if open_ones:
        raise Failed(
            f"Every user of this server may connect to {open_ones}, so a new one could too. Its administrator has "
            "to run REVOKE CONNECT ON DATABASE ... FROM PUBLIC for each of them."
        )


def _look(server: Session, names: Names) -> tuple[bool, bool]:
    """Tell whether role and database are there. Raises Failed where one of them is somebody else's."""
    role = server.row(FIND_ROLE, [names.name])
    if role and role[0] != names.mark:
        raise Failed(f"There is a user {names.name} on the server that Greenlane did not make.")
    database = server.row(FIND_DATABASE, [names.name])
    if not database:
        return bool(role), False
    owner, _, connection_limit = database
    if not role or owner != names.name:
        raise Failed(f"There is a database {names.name} on the server that Greenlane did not make.")
    if connection_limit == HALF_DROPPED:
        _drop_database(server, names)
        return True, False
    return True, True


def _write_role(server: Session, names: Names, password: str, limits: dict[str, int], *, exists: bool) -> None:
    """Make the role or bring it to what it should be, with its mark, all or nothing."""
    with server.transaction():
        if not exists:
            server.run("CREATE ROLE {name}", name=names.identifier)
        server.run(
            "ALTER ROLE {name} LOGIN NOCREATEDB NOCREATEROLE CONNECTION LIMIT {limit} PASSWORD {password}",
            name=names.identifier,
            limit=sql.Literal(limits["connection_limit"]),
            password=sql.Literal(server.verifier(password, names.name)),
        )
        server.run("COMMENT ON ROLE {name} IS {mark}", name=names.identifier, mark=sql.Literal(names.mark))
        # Who makes a database for a role, ends its sessions and drops it has to be a member of that role.
        server.run("GRANT {name} TO CURRENT_USER", name=names.identifier)
        server.run(
            "ALTER ROLE {name} SET statement_timeout = {timeout}",
            name=names.identifier,
            timeout=sql.Literal(f"{limits['statement_timeout_seconds']}s"),
        )


def _close_to_others(server: Session, names: Names) -> None:
    with server.transaction():
        server.run("REVOKE CONNECT, TEMPORARY ON DATABASE {name} FROM PUBLIC", name=names.identifier)
        server.run("COMMENT ON DATABASE {name} IS {mark}", name=names.identifier, mark=sql.Literal(names.mark))
        server.run("ALTER DATABASE {name} ALLOW_CONNECTIONS true", name=names.identifier)


def _drop_database(server: Session, names: Names) -> None:
    try:
        server.run("DROP DATABASE IF EXISTS {name} WITH (FORCE)", name=names.identifier)
    except Failed as error:
        # For example a superuser's session, which this role may not end, or a prepared transaction.
        raise Retry(str(error)) from error
