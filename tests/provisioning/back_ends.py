"""What really stands at each back end, looked up past the connectors."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
import redis
from django.conf import settings
from psycopg2 import extensions, sql
from redis.backoff import NoBackoff
from redis.retry import Retry

from provisioning.connectors.names import name_for


class PostgreSQLServer:
    """The back end of `postgresql`, seen by its provisioner and by the people it delivered to."""

    def __init__(self):
        self.url = settings.POSTGRESQL_BACKEND_URL

    def ask(self, query, *values, **account):
        """Run one statement as the provisioner, or as `account` (user, password, dbname); give its rows."""
        with closing(psycopg2.connect(extensions.make_dsn(self.url, **account))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(query, values or None)
                return cursor.fetchall() if cursor.description else []

    def things(self, call):
        """List roles and databases of the call's instance."""
        name = name_for(call.instance_name, call.instance_id)
        return self.ask(
            "SELECT 'role' FROM pg_roles WHERE rolname = %s"
            " UNION ALL SELECT 'database' FROM pg_database WHERE datname = %s",
            name,
            name,
        )

    def make_halves(self, call):
        """Leave what an attempt killed between its acts leaves: one variant a time."""
        name = sql.Identifier(name_for(call.instance_name, call.instance_id))
        mark = sql.Literal(f"Greenlane service {call.instance_id}")

        def role():
            self.ask(sql.SQL("CREATE ROLE {}").format(name))
            self.ask(sql.SQL("COMMENT ON ROLE {} IS {}").format(name, mark))
            self.ask(sql.SQL("GRANT {} TO CURRENT_USER").format(name))

        def closed_database():
            role()
            self.ask(sql.SQL("CREATE DATABASE {0} OWNER {0} TEMPLATE template0 ALLOW_CONNECTIONS false").format(name))

        return [role, closed_database]

    def make_foreign(self, call):
        """Make something of the same name that Greenlane did not make; give what removes it."""
        name = sql.Identifier(name_for(call.instance_name, call.instance_id))
        self.ask(sql.SQL("CREATE ROLE {}").format(name))
        return lambda: self.ask(sql.SQL("DROP ROLE {}").format(name))

    def use(self, outputs, password):
        """Do what the person does with what was delivered."""
        account = {"user": outputs["username"], "dbname": outputs["database"], "password": password}
        self.ask("CREATE TABLE orders (id int)", **account)
        return self.ask("SELECT count(*) FROM orders", **account)


class RedisServer:
    """The back end of `redis_acl`."""

    def __init__(self):
        if not settings.REDIS_BACKEND_URL:
            pytest.skip("no Redis server is set up to deliver users on")
        self.admin = redis.Redis.from_url(settings.REDIS_BACKEND_URL, decode_responses=True)

    def things(self, call):
        """List user and keys of the call's instance."""
        name = name_for(call.instance_name, call.instance_id)
        users = [user for user in self.admin.acl_users() if user == name]
        return users + list(self.admin.scan_iter(f"{name}:*", count=1000))

    def make_halves(self, call):
        """A user without rights; keys without a user."""
        name = name_for(call.instance_name, call.instance_id)

        def user():
            self.admin.execute_command(
                "ACL", "SETUSER", name, "resetchannels", f"&greenlane-service:{call.instance_id}"
            )

        def keys():
            self.admin.mset({f"{name}:{number}": "x" for number in range(20)})

        return [user, keys]

    def make_foreign(self, call):
        """A user of the same name without our mark."""
        name = name_for(call.instance_name, call.instance_id)
        self.admin.execute_command("ACL", "SETUSER", name, "on", "~*")
        return lambda: self.admin.acl_deluser(name)

    def client(self, outputs, password):
        """Sign in as the delivered user."""
        return redis.Redis(
            host=outputs["host"],
            port=outputs["port"],
            username=outputs["username"],
            password=password,
            decode_responses=True,
            retry=Retry(NoBackoff(), 0),
        )

    def use(self, outputs, password):
        """Write and read a key."""
        with self.client(outputs, password) as client:
            client.set(f"{outputs['key_prefix']}visits", "1")
            return client.get(f"{outputs['key_prefix']}visits")


class GitFolder:
    """The back end of `git_repository`."""

    def __init__(self):
        self.root = Path(settings.GIT_BACKEND_ROOT)

    def path(self, call):
        """Where the repository of the call's instance lies."""
        return self.root / f"{name_for(call.instance_name, call.instance_id, longest=100, separator='-')}.git"

    def things(self, call):
        """List the repository and whatever was put aside for it."""
        return [path.name for path in self.root.iterdir() if self.path(call).stem in path.name]

    def make_halves(self, call):
        """A repository that was never moved into place; one that was moved away and not deleted."""

        def begun():
            (self.root / f".{self.path(call).stem}.new-7").mkdir()

        def moved_away():
            (self.root / f".{self.path(call).stem}.gone-7" / "objects").mkdir(parents=True)

        return [begun, moved_away]

    def make_foreign(self, call):
        """A folder of the same name without our mark."""
        self.path(call).mkdir()
        return self.path(call).rmdir

    def use(self, outputs, password):
        """Clone it, as the person would."""
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(
                ["git", "-c", "safe.directory=*", "clone", "--quiet", outputs["clone_url"], f"{folder}/clone"],
                check=True,
                capture_output=True,
                timeout=30,
            )
            return Path(folder, "clone", ".git").is_dir()


class Folders:
    """The back end of the template for third parties."""

    def __init__(self):
        self.root = Path(os.environ["FOLDER_ROOT"])

    def path(self, call):
        """Where the folder of the call's instance lies."""
        return self.root / name_for(call.instance_name, call.instance_id, separator="-")

    def things(self, call):
        """List the folder, if it is there."""
        return [path.name for path in self.root.iterdir() if path == self.path(call)]

    def make_halves(self, call):
        """A folder without anything in it; one with the mark alone."""

        def marked():
            self.path(call).mkdir()
            (self.path(call) / ".greenlane-service").write_text(str(call.instance_id))

        return [self.path(call).mkdir, marked]

    def make_foreign(self, call):
        """A folder of the same name that holds something else."""
        self.path(call).mkdir()
        (self.path(call) / "letter").write_text("Dear")
        return lambda: shutil.rmtree(self.path(call))

    def use(self, outputs, password):
        """Show the password, as the person would."""
        return Path(outputs["path"], "password.sha256").read_text() == hashlib.sha256(password.encode()).hexdigest()


# Those that stand in the contract test. What speaks to a server of its own test module is tested there.
BACK_ENDS = {"folder": Folders, "postgresql": PostgreSQLServer, "redis_acl": RedisServer, "git_repository": GitFolder}
