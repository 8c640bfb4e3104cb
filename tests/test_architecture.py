"""The rules of docs/architecture.md that a machine can check. A rule without a machine is a wish."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps
from importlinter.cli import lint_imports

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ["core", "accounts", "catalog", "provisioning", "approvals", "orders"]
TREES = [*LAYERS, "config"]
MAX_LINES = 400

# What every app may have; one that has more says why.
FILES = {
    "admin",
    "api",
    "apps",
    "forms",
    "handlers",
    "management",
    "migrations",
    "models",
    "permissions",
    "services",
    "tasks",
    "templatetags",
    "urls",
    "views",
}
MORE_FILES = {
    "approvals/rules": "the checks themselves, pure",
    "provisioning/connectors": "back ends, one class each",
    "provisioning/sweeper": "the workers' own look for due rows",
}
CORE_TOOLS = {
    "egress",
    "expressions",
    "substitution",
    "tracing",
    "bell",
    "events",
    "logs",
    "middleware",
    "money",
    "pages",
    "parameters",
    "permissions",
    "problems",
    "seals",
    "secrets",
    "states",
    "transactions",
}
BANNED_NAMES = {"utils", "helpers", "common", "selectors", "repositories", "managers", "signals"}

NETWORK = {"requests", "httpx", "aiohttp", "urllib3", "urllib.request", "http.client"}
MAY_CALL_OUT = {
    "core/egress/client.py": "the one way out",
    "config/demo.py": "asks its own web process on loopback whether it is ready",
}
CELERY_DETOURS = {"eta", "countdown", "autoretry_for", "retry_backoff"}
CELERY_CANVAS = {"chain", "chord", "group", "chunks", "signature"}

ASKS = ("require", "_require")
WRITES = {
    "bulk_create",
    "bulk_update",
    "create",
    "create_user",
    "delete",
    "get_or_create",
    "move",
    "record",
    "record_all",
    "save",
    "set_password",
    "update",
    "update_or_create",
}
ASKED_BEFORE = {
    "orders.services.orders.consider": "reads; `place` and `preview` ask before they call it",
    "provisioning.services.lifecycle.begin_again": "part of the transaction of `orders.decide_again`, which asked",
    "provisioning.services.lifecycle.begin_change": "part of the transaction of `orders.place_change`, which asked",
    "provisioning.services.lifecycle.begin_removal": "part of the transaction of `orders.place_change`, which asked",
    "provisioning.services.runs.begin": "part of the transaction of `orders.place`, which asked",
    "provisioning.services.runs.start_run": "part of the transaction of a service that asked",
    "provisioning.services.runs.cancel_run": "part of the transaction of `orders.cancel`, which asked",
}
MAY_SET_STATES = {
    "core/states.py": "the one place",
    "provisioning/services/breakers.py": "a breaker is what many workers saw at once, written by conditional UPDATEs",
    "provisioning/services/results.py": "a result is written under the lease, by an UPDATE that repeats its token",
}


def sources(*trees: str) -> Iterator[tuple[str, ast.Module]]:
    """Give every module of `trees` but migrations, parsed, with its path from the root."""
    for tree in trees or TREES:
        for path in sorted((ROOT / tree).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if "/migrations/" not in name:
                yield name, ast.parse(path.read_text("utf-8"))


def imported(module: ast.Module) -> Iterator[str]:
    """Give the full name of everything that a module imports."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def calls(node: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Give every call within `node` with the last part of the called name."""
    for one in ast.walk(node):
        if isinstance(one, ast.Call):
            called = one.func
            yield called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", ""), one


def test_calls_go_down(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert lint_imports(no_cache=True) == 0


def test_foreign_keys_go_down_too():
    upward = [
        f"{model._meta.label}.{field.name} -> {field.related_model._meta.label}"
        for model in apps.get_models()
        if model._meta.app_label in LAYERS
        for field in model._meta.get_fields()
        if field.is_relation and field.concrete and field.related_model._meta.app_label in LAYERS
        if LAYERS.index(field.related_model._meta.app_label) > LAYERS.index(model._meta.app_label)
    ]
    assert upward == []


def test_there_are_no_model_signals():
    found = [
        f"{path} imports {name}"
        for path, module in sources()
        for name in imported(module)
        if name.startswith(("django.db.models.signals", "django.dispatch", "django.core.signals"))
    ]
    assert found == []


def test_only_one_module_calls_out():
    found = [
        f"{path} imports {name}"
        for path, module in sources()
        if path not in MAY_CALL_OUT
        for name in imported(module)
        if any(name == banned or name.startswith(f"{banned}.") for banned in NETWORK)
    ]
    assert found == []


def test_celery_only_rings():
    found = [
        f"{path}:{call.lineno} {name}({keyword.arg})"
        for path, module in sources()
        for name, call in calls(module)
        for keyword in call.keywords
        if keyword.arg in CELERY_DETOURS
    ]
    found += [
        f"{path} imports {name}"
        for path, module in sources()
        for name in imported(module)
        if name.startswith("celery.") and name.rsplit(".", 1)[1] in CELERY_CANVAS
    ]
    found += [
        f"{path}:{call.lineno} .retry()"
        for path, module in sources()
        for name, call in calls(module)
        if name == "retry" and isinstance(call.func, ast.Attribute)
    ]
    assert found == []


def test_no_file_is_longer_than_a_person_reads():
    long = {
        path: count
        for tree in TREES
        for path in (ROOT / tree).rglob("*.py")
        if "migrations" not in path.parts
        for count in [len(path.read_text("utf-8").splitlines())]
        if count > MAX_LINES
    }
    assert long == {}


@pytest.mark.parametrize("app", LAYERS)
def test_every_app_has_the_same_file_names(app):
    names = {path.stem for path in (ROOT / app).iterdir() if path.name not in {"__init__.py", "__pycache__"}}
    allowed = FILES | {name.partition("/")[2] for name in MORE_FILES if name.startswith(f"{app}/")}
    assert names - allowed - (CORE_TOOLS if app == "core" else set()) == set()
    assert names & BANNED_NAMES == set()


def services() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Give every public function of a service module that takes an actor."""
    for path, module in sources(*LAYERS):
        if "services" not in path:
            continue
        for node in module.body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                named = [one.arg for one in (*node.args.args, *node.args.kwonlyargs)]
                if "actor" in named:
                    yield f"{path.removesuffix('.py').replace('/', '.')}.{node.name}", node


def test_services_ask_before_they_write():
    careless = []
    for name, function in services():
        asked = [call.lineno for called, call in calls(function) if called.startswith(ASKS)]
        wrote = [call.lineno for called, call in calls(function) if called in WRITES]
        careful = asked and (not wrote or min(asked) < min(wrote))
        if not careful and name not in ASKED_BEFORE:
            careless.append(name)
    assert careless == []


def test_who_need_not_ask_is_still_there():
    assert set(ASKED_BEFORE) - {name for name, _ in services()} == set()


def test_actors_are_named_in_calls():
    by_place = [
        name
        for name, function in services()
        if "actor" in [one.arg for one in function.args.args] and name not in ASKED_BEFORE
    ]
    assert by_place == []


def test_states_change_in_one_place():
    found = []
    for path, module in sources(*LAYERS):
        if path in MAY_SET_STATES:
            continue
        for name, call in calls(module):
            if name == "update" and any(keyword.arg == "state" for keyword in call.keywords):
                found.append(f"{path}:{call.lineno}")
    assert found == []


def test_pages_explain_input_and_leave_the_rest_to_the_middleware():
    found = [
        f"{path}:{node.lineno} except {ast.unparse(node.type) if node.type else ''}"
        for path, module in sources(*LAYERS)
        if "/views" in path and not path.startswith("core/")
        for node in ast.walk(module)
        if isinstance(node, ast.ExceptHandler)
        if not (isinstance(node.type, ast.Name) and node.type.id in {"Invalid", "KeyReused"})
    ]
    assert found == []
