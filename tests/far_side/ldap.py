"""Directories: a real OpenLDAP of one test module, and a scripted server that misbehaves."""

import contextlib
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import ldap3
import pytest

from tests.far_side.dns import free_port

BASE, ROOT, PASSWORD = "dc=example", "cn=admin,dc=example", "far-side-password"
GROUP, SECOND = "cn=database-users,ou=groups,dc=example", "cn=posix,ou=groups,dc=example"
PROGRAMS = "/usr/sbin:/usr/local/sbin:/usr/libexec:/usr/bin"
CONFIGURATION = """
{includes}
{modules}
pidfile {root}/pid
TLSCertificateFile {root}/cert.pem
TLSCertificateKeyFile {root}/key.pem
database mdb
suffix "{base}"
rootdn "{admin}"
rootpw {password}
directory {root}/data
maxsize 10485760
access to dn.base="cn=closed,ou=groups,dc=example" by * read
access to * by dn="uid=weak,ou=people,dc=example" read by anonymous auth by self write
"""
ENTRIES = """
dn: dc=example
objectClass: dcObject
objectClass: organization
o: Example

dn: ou=people,dc=example
objectClass: organizationalUnit

dn: ou=groups,dc=example
objectClass: organizationalUnit

{people}

dn: cn=database-users,ou=groups,dc=example
objectClass: groupOfNames
member: uid=first,ou=people,dc=example

dn: cn=posix,ou=groups,dc=example
objectClass: posixGroup
gidNumber: 5000

dn: cn=twice,ou=groups,dc=example
objectClass: organizationalRole

dn: cn=twice,ou=people,dc=example
objectClass: organizationalRole
"""
PERSON = """dn: uid={uid},ou=people,dc=example
objectClass: inetOrgPerson
cn: {uid}
sn: {uid}
userPassword: {password}
"""


@dataclass
class Directory:
    """A running slapd, asked past the connector."""

    port: int
    tls_port: int
    certificate: str

    def members(self, group: str = GROUP, attribute: str = "member") -> list[str]:
        """Give the members of one group."""
        with self._open() as connection:
            connection.search(group, "(objectClass=*)", ldap3.BASE, attributes=[attribute])
            return sorted(connection.response[0]["attributes"].get(attribute, []))

    def change(self, how: str, member: str, group: str = GROUP, attribute: str = "member") -> None:
        """Add or remove a member as somebody else who may."""
        with self._open() as connection:
            if not connection.modify(group, {attribute: [(how, [member])]}):
                raise AssertionError(connection.result["description"])

    @contextlib.contextmanager
    def _open(self) -> Iterator[ldap3.Connection]:
        server = ldap3.Server("127.0.0.1", self.port, get_info=ldap3.NONE)
        connection = ldap3.Connection(server, ROOT, PASSWORD, auto_bind=True)
        try:
            yield connection
        finally:
            connection.unbind()


@contextlib.contextmanager
def directory() -> Iterator[Directory]:
    """Run slapd with a few people and groups; skips the test by name where it is not installed."""
    slapd, slapadd, openssl = (shutil.which(name, path=PROGRAMS) for name in ("slapd", "slapadd", "openssl"))
    schemas = next((path for path in map(Path, ("/etc/ldap/schema", "/etc/openldap/schema")) if path.is_dir()), None)
    if not (slapd and slapadd and openssl and schemas):
        pytest.skip("OpenLDAP (slapd) is not installed")
    with tempfile.TemporaryDirectory(prefix="greenlane-slapd-") as folder:
        root = Path(folder)
        _write(root, schemas, openssl)
        configuration = str(root / "slapd.conf")
        command = [slapadd, "-f", configuration, "-l", str(root / "entries.ldif")]
        subprocess.run(command, check=True, capture_output=True)
        made = Directory(free_port(), free_port(), (root / "cert.pem").read_text())
        addresses = f"ldap://127.0.0.1:{made.port} ldaps://127.0.0.1:{made.tls_port}"
        command = [slapd, "-d", "0", "-h", addresses, "-f", configuration]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                _wait_for(made, process)
                yield made
            finally:
                process.kill()


def _write(root: Path, schemas: Path, openssl: str) -> None:
    (root / "data").mkdir()
    includes = "\n".join(f"include {schemas / name}.schema" for name in ("core", "cosine", "nis", "inetorgperson"))
    libraries = next((path for path in map(Path, ("/usr/lib/ldap", "/usr/lib64/openldap")) if path.is_dir()), None)
    modules = f"modulepath {libraries}\nmoduleload back_mdb" if libraries else ""
    values = {"root": root, "base": BASE, "admin": ROOT, "password": PASSWORD}
    (root / "slapd.conf").write_text(CONFIGURATION.format(includes=includes, modules=modules, **values))
    people = "\n".join(PERSON.format(uid=uid, password=PASSWORD) for uid in ("first", "maria", "omar", "weak"))
    (root / "entries.ldif").write_text(ENTRIES.format(people=people))
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:TRUE"]
    command += ["-keyout", str(root / "key.pem"), "-out", str(root / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True)


def _wait_for(made: Directory, process: subprocess.Popen[bytes]) -> None:
    ends_at = time.monotonic() + 15
    while time.monotonic() < ends_at and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", made.port), timeout=1):
            return
        time.sleep(0.05)
    process.kill()
    raise RuntimeError("slapd did not start.")


@contextlib.contextmanager
def scripted_directory(behave: Callable[[socket.socket, threading.Event], None]) -> Iterator[int]:
    """Let `behave` speak with each client; give the port."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)

        def accept() -> None:
            while not stop.is_set():
                with contextlib.suppress(OSError):
                    connection = server.accept()[0]
                    with connection:
                        connection.settimeout(5)
                        behave(connection, stop)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            stop.set()
            thread.join(timeout=6)
