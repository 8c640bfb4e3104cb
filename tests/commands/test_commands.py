"""What operators type, and with what it ends: 0 done, 1 refused with a sentence, 2 bad usage."""

import io
import subprocess
import sys
from datetime import timedelta

import pytest
from cryptography.fernet import Fernet
from django.conf import settings as configured
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

import orders.services as orders
from accounts.models import ApiToken
from core import secrets
from core.models import Event
from provisioning.models import Secret
from tests.factories import published_offering

COMMANDS = ["seed_demo", "create_token", "verify_audit", "rotate_keys", "runs", "docs_states", "import_broker"]


def say(name, *arguments):
    output = io.StringIO()
    call_command(name, *arguments, stdout=output)
    return output.getvalue()


def shell(*arguments):
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=configured.BASE_DIR,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_a_command_does(name, capsys):
    with pytest.raises(SystemExit) as ended:
        call_command(name, "--help")
    assert ended.value.code == 0
    assert len(capsys.readouterr().out) > 200


@pytest.mark.parametrize(
    "arguments",
    [
        ["create_token", "--user", "business"],
        ["create_token", "--user", "business", "--expires-in", "soon", "--scopes", "read"],
        ["create_token", "--user", "business", "--expires-in", "1d", "--scopes", "all"],
        ["runs", "retry", "no-uuid", "--user", "curator"],
    ],
    ids=" ".join,
)
def test_bad_usage_ends_with_2_and_says_how_it_goes(arguments):
    ended = shell(*arguments)
    assert ended.returncode == 2
    assert "usage:" in ended.stderr


def test_a_refusal_from_the_shell_is_one_sentence_and_1():
    ended = shell("create_token", "--user", "nobody", "--expires-in", "1d", "--scopes", "read")
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert len(ended.stderr.strip().splitlines()) == 1
    assert "Traceback" not in ended.stderr


class TestCreateToken:
    @pytest.mark.parametrize(("text", "seconds"), [("30d", 2_592_000), ("12h", 43_200), ("3600", 3_600), ("15m", 900)])
    def test_it_prints_the_token_alone_with_the_life_and_scopes_asked_for(self, org, text, seconds):
        printed = say("create_token", "--user", "business", "--expires-in", text, "--scopes", "read,order")
        token = ApiToken.objects.get()
        assert printed.count("\n") == 1
        assert printed.startswith("gl_")
        assert token.scopes == ["order", "read"]
        assert abs((token.expiry - timezone.now()) - timedelta(seconds=seconds)) < timedelta(seconds=30)

    def test_the_token_opens_the_api(self, org, offering):
        text = say("create_token", "--user", "business", "--expires-in", "1h", "--scopes", "read").strip()
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
        assert client.get("/api/v1/offerings/").status_code == 200

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"--user": "nobody"}, "no person"),
            ({"--expires-in": "400d"}, "at most a year"),
            ({"--expires-in": "0"}, "at least a second"),
            ({"--label": " "}, "label"),
        ],
    )
    def test_what_cannot_be_is_refused_with_a_sentence(self, org, changes, sentence):
        options = {"--user": "business", "--expires-in": "1h", "--scopes": "read", "--label": "x"} | changes
        with pytest.raises(CommandError, match=sentence):
            say("create_token", *(f"{name}={value}" for name, value in options.items()))

    def test_a_closed_account_gets_none(self, org):
        org.business.is_active = False
        org.business.save()
        with pytest.raises(CommandError, match="closed"):
            say("create_token", "--user", "business", "--expires-in", "1h", "--scopes", "read")


class TestVerifyAudit:
    def test_it_seals_first_and_counts_what_it_walked(self, org):
        assert f"{Event.objects.count()} events in an unbroken chain" in say("verify_audit")
        assert not Event.objects.filter(seal__isnull=True).exists()

    def test_it_is_content_with_an_empty_trail(self, db):
        assert say("verify_audit").startswith("0 events")

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ("UPDATE core_event SET actor = 'nobody'", "was changed"),
            ("DELETE FROM core_event", "was deleted"),
        ],
    )
    def test_it_names_what_was_edited_or_deleted(self, org, change, sentence, capsys):
        say("verify_audit")
        event = Event.objects.order_by("id")[3]
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("ALTER TABLE core_event DISABLE TRIGGER USER")
            cursor.execute(f"{change} WHERE id = %s", [event.pk])
            cursor.execute("ALTER TABLE core_event ENABLE TRIGGER USER")
        with pytest.raises(CommandError, match="1 fault"):
            say("verify_audit")
        printed = capsys.readouterr().err
        assert f"Event {event.pk}" in printed
        assert sentence in printed


@pytest.fixture
def database_order(org):
    offering = published_offering(org, connector="postgresql")
    wanted = orders.Wanted(
        plan="database/small",
        name="campaign-db",
        cost_center="4100",
        terms_hash=offering.current_version.terms_hash,
        purpose="test",
        data_classification="internal",
    )
    return orders.place(wanted, actor=org.business).order


class TestRotateKeys:
    def test_the_old_key_can_go_afterwards(self, database_order, settings):
        old, new = settings.ENCRYPTION_KEYS[0], Fernet.generate_key().decode()
        secret = Secret.objects.get()
        before = secrets.decrypt(secret.ciphertext, bound_to=secret.pk)
        settings.ENCRYPTION_KEYS = [new, old]
        assert say("rotate_keys").startswith("1 secret is")
        settings.ENCRYPTION_KEYS = [new]
        secret.refresh_from_db()
        assert secrets.decrypt(secret.ciphertext, bound_to=secret.pk) == before

    def test_a_secret_that_no_key_opens_is_said_and_left(self, database_order, settings):
        settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
        with pytest.raises(CommandError, match="ENCRYPTION_KEYS"):
            say("rotate_keys")
