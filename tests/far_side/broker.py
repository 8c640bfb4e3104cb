"""Service brokers: a real one (openbrokerapi under werkzeug), and one that follows a script against the rules."""

import base64
import json
import logging
import socket
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from flask import Flask
from openbrokerapi import api, catalog, errors, service_broker
from werkzeug.serving import WSGIRequestHandler, make_server

USERNAME, PASSWORD = "greenlane", "broker-password"
SERVICE, SMALL, LARGE = "5e72b0c1-database", "plan-small", "plan-large"
CREDENTIALS = {
    "uri": "mysql://shop:s3cret-pass-word@db.example:3306/shop",
    "password": "s3cret-pass-word",
    "port": 3306,
    "tls": {"ca": "-----BEGIN CERTIFICATE-----"},
}


def catalog_body() -> dict[str, Any]:
    """Give the catalog of both brokers: one service with two plans, one of which costs something."""
    form = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "type": "object",
        "properties": {"storage": {"type": "integer", "minimum": 1, "maximum": 50, "default": 5}},
    }
    schemas = {"service_instance": {"create": {"parameters": form}}}
    return {
        "services": [
            {
                "id": SERVICE,
                "name": "Shop-Database",
                "description": "A database for shops.",
                "bindable": True,
                "instances_retrievable": True,
                "bindings_retrievable": True,
                "plan_updateable": True,
                "metadata": {"displayName": "Shop database", "longDescription": "MySQL, backed up every night."},
                "plans": [
                    {"id": SMALL, "name": "small", "description": "Shared.", "free": True, "schemas": schemas},
                    {
                        "id": LARGE,
                        "name": "large",
                        "description": "Your own server.",
                        "free": False,
                        "schemas": schemas,
                        "metadata": {
                            "costs": [
                                {"amount": {"usd": 99.0}, "unit": "MONTHLY"},
                                {"amount": {"usd": 0.99}, "unit": "1GB of backups"},
                            ]
                        },
                        "maximum_polling_duration": 120,
                        "maintenance_info": {"version": "2.1.1"},
                    },
                ],
            }
        ]
    }


class _Quiet(WSGIRequestHandler):
    def log_request(self, *_arguments):
        """Nobody reads it."""


class Database(service_broker.ServiceBroker):
    """Instances and bindings in memory. `is_async`: each change takes as many questions as `polls` says."""

    def __init__(self, *, is_async=False, polls=2):
        self.is_async, self.polls = is_async, polls
        self.refuses_changes = False
        self.instances: dict[str, dict[str, Any]] = {}
        self.bindings: dict[str, dict[str, Any]] = {}
        self.identities: list[Any] = []
        self.left: dict[str, int] = {}
        self.lock = threading.Lock()

    def catalog(self):
        """As `catalog_body` says, in the library's own objects."""
        return [_service(known) for known in catalog_body()["services"]]

    def provision(self, instance_id, details, async_allowed, **_more):
        """Make it; the same again is no error, another of the same id is."""
        self.identities.append(details.originating_identity)
        wanted = {"plan": details.plan_id, "parameters": details.parameters or {}, "context": details.context}
        with self.lock:
            known = self.instances.setdefault(instance_id, wanted)
        if known != wanted:
            raise errors.ErrInstanceAlreadyExists
        state = service_broker.ProvisionState
        url = f"https://dashboards.example/{instance_id}"
        if self.is_async:
            self._allow(async_allowed)
            return service_broker.ProvisionedServiceSpec(state.IS_ASYNC, url, self._begin(f"make {instance_id}"))
        made = state.SUCCESSFUL_CREATED if known is wanted else state.IDENTICAL_ALREADY_EXISTS
        return service_broker.ProvisionedServiceSpec(made, url)

    def update(self, instance_id, details, async_allowed, **_more):
        """Change plan and parameters."""
        if self.refuses_changes:
            raise errors.ErrPlanChangeNotSupported
        instance = self.instances[instance_id]
        instance["previous"] = vars(details.previous_values) if details.previous_values else None
        instance["plan"] = details.plan_id or instance["plan"]
        instance["parameters"] = {**instance["parameters"], **(details.parameters or {})}
        if self.is_async:
            self._allow(async_allowed)
            return service_broker.UpdateServiceSpec(is_async=True, operation=self._begin(f"change {instance_id}"))
        return service_broker.UpdateServiceSpec(is_async=False)

    def deprovision(self, instance_id, details, async_allowed, **_more):
        """Remove it, or say that it is gone."""
        if any(bound["instance"] == instance_id for bound in self.bindings.values()):
            raise AssertionError("The bindings go first.")
        if self.instances.pop(instance_id, None) is None:
            raise errors.ErrInstanceDoesNotExist
        operation = self._begin(f"remove {instance_id}") if self.is_async else None
        return service_broker.DeprovisionServiceSpec(self.is_async, operation)

    def bind(self, instance_id, binding_id, details, async_allowed, **_more):
        """Give credentials, or the same ones again."""
        state = service_broker.BindState
        is_new = binding_id not in self.bindings
        self.bindings[binding_id] = {"instance": instance_id, "credentials": dict(CREDENTIALS)}
        if self.is_async:
            self._allow(async_allowed)
            return service_broker.Binding(state.IS_ASYNC, operation=self._begin(f"bind {binding_id}"))
        made = state.SUCCESSFUL_BOUND if is_new else state.IDENTICAL_ALREADY_EXISTS
        return service_broker.Binding(made, credentials=self.bindings[binding_id]["credentials"])

    def unbind(self, instance_id, binding_id, details, async_allowed, **_more):
        """Take the credentials back."""
        if self.bindings.pop(binding_id, None) is None:
            raise errors.ErrBindingDoesNotExist
        return service_broker.UnbindSpec(self.is_async, self._begin(f"unbind {binding_id}") if self.is_async else None)

    def get_instance(self, instance_id, **_more):
        """Fetch it."""
        if instance_id not in self.instances:
            raise errors.ErrInstanceDoesNotExist
        known = self.instances[instance_id]
        return service_broker.GetInstanceDetailsSpec(SERVICE, known["plan"], parameters=known["parameters"])

    def get_binding(self, instance_id, binding_id, **_more):
        """Fetch its credentials."""
        if binding_id not in self.bindings:
            raise errors.ErrBindingDoesNotExist
        return service_broker.GetBindingSpec(credentials=self.bindings[binding_id]["credentials"])

    def last_operation(self, instance_id, operation_data, **_more):
        """Say how far it got."""
        return self._asked(operation_data)

    def last_binding_operation(self, instance_id, binding_id, operation_data, **_more):
        """Say how far it got."""
        return self._asked(operation_data)

    def _allow(self, async_allowed):
        if not async_allowed:
            raise errors.ErrAsyncRequired

    def _begin(self, what):
        operation = f"{what} & more=1/ü"
        self.left.setdefault(operation, self.polls)
        return operation

    def _asked(self, operation):
        states = service_broker.OperationState
        self.left[operation] -= 1
        done = self.left[operation] < 0
        return service_broker.LastOperation(states.SUCCEEDED if done else states.IN_PROGRESS, "Half way.")


def _service(known):
    plans = [
        catalog.ServicePlan(**{**plan, "schemas": catalog.Schemas(**plan["schemas"])}, metadata_given=None)
        for plan in known["plans"]
    ]
    return service_broker.Service(**{**known, "plans": plans})


class RealBroker:
    """A broker made with openbrokerapi, served on a free port of loopback until `close`."""

    def __init__(self, **behavior):
        self.database = Database(**behavior)
        app = Flask("broker")
        logger = logging.getLogger("broker")
        logger.addHandler(logging.NullHandler())
        credentials = api.BrokerCredentials(USERNAME, PASSWORD)
        app.register_blueprint(api.get_blueprint(self.database, credentials, logger))
        self.server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
        self.address = f"http://127.0.0.1:{self.server.server_port}/"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def close(self):
        """Stop serving."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(timeout=5)


@dataclass
class Say:
    """One scripted answer. `acts`: whether what was asked takes place all the same.

    `how`: "" answers; "drop" breaks the connection off instead; "hang" never answers; "drip" sends a byte at a time.
    """

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    acts: bool = False
    how: str = ""


@dataclass(frozen=True)
class Heard:
    """One request as it came in."""

    operation: str
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    raw_query: str

    @property
    def identity(self):
        """Who caused it, as the header says: (platform, facts)."""
        platform, value = self.headers["x-broker-api-originating-identity"].split(" ")
        return platform, json.loads(base64.b64decode(value, validate=True))


class ScriptedBroker(ThreadingHTTPServer):
    """Behaves well where its script says nothing. `script[operation]` lists the next answers to an operation.

    Operations: catalog, provision, update, deprovision, get, poll, bind, unbind, get binding, poll binding.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.script: dict[str, list[Say]] = defaultdict(list)
        self.always: dict[str, Say] = {}
        self.heard: list[Heard] = []
        self.instances: dict[str, Any] = {}
        self.bindings: dict[str, Any] = {}
        self.catalog = catalog_body()
        self.released = threading.Event()
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def close(self):
        """Stop serving, and let go whom it kept waiting."""
        self.released.set()
        self.shutdown()
        self.server_close()
        self.thread.join(timeout=5)

    def handle_error(self, *_arguments):
        """Who breaks off in the middle of an answer is what some tests are about."""

    def operations(self):
        """List what was asked, in order."""
        return [heard.operation for heard in self.heard]

    def last(self, operation):
        """Give the last request of one kind."""
        return [heard for heard in self.heard if heard.operation == operation][-1]

    def act(self, heard):
        """Do what was asked as a good broker would; give its answer."""
        ids = heard.path.split("/")[3:]
        instance, binding = ids[0] if ids else "", ids[2] if len(ids) > 2 else ""
        if heard.operation == "catalog":
            return Say(200, self.catalog)
        if heard.operation == "provision":
            is_new = instance not in self.instances
            self.instances[instance] = heard.body
            return Say(201 if is_new else 200, {"dashboard_url": f"https://dashboards.example/{instance}"})
        if heard.operation == "bind":
            is_new = binding not in self.bindings
            self.bindings[binding] = instance
            return Say(201 if is_new else 200, {"credentials": CREDENTIALS})
        if heard.operation == "deprovision":
            return Say(200 if self.instances.pop(instance, None) else 410)
        if heard.operation == "unbind":
            return Say(200 if self.bindings.pop(binding, None) else 410)
        if heard.operation == "update":
            self.instances[instance] = self.instances[instance] | heard.body
            return Say(200)
        if heard.operation == "get":
            return Say(200 if instance in self.instances else 404)
        if heard.operation == "get binding":
            return Say(200, {"credentials": CREDENTIALS}) if binding in self.bindings else Say(404)
        return Say(200, {"state": "succeeded"})


NAMES = {
    ("PUT", False): "provision",
    ("PATCH", False): "update",
    ("DELETE", False): "deprovision",
    ("GET", False): "get",
    ("PUT", True): "bind",
    ("DELETE", True): "unbind",
    ("GET", True): "get binding",
}


class _Handler(BaseHTTPRequestHandler):
    server: ScriptedBroker
    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments):
        """Nobody reads it."""

    def _serve(self):
        heard = self._heard()
        said = self._said(heard)
        if said.how == "hang":
            self.server.released.wait(30)
        if said.how in {"hang", "drop"}:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        body = said.body if isinstance(said.body, bytes) else json.dumps(said.body).encode()
        self.send_response(said.status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in said.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self._send(body, said.how)

    do_GET = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 (the library's names)

    def _send(self, body, how):
        try:
            if how != "drip":
                self.wfile.write(body)
                return
            for byte in body:
                self.wfile.write(bytes([byte]))
                if self.server.released.wait(0.2):
                    return
        except OSError:
            self.close_connection = True  # who asked has gone

    def _heard(self):
        parts = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        is_binding = "/service_bindings/" in parts.path
        if parts.path.endswith("/last_operation"):
            name = "poll binding" if is_binding else "poll"
        elif parts.path.endswith("/v2/catalog"):
            name = "catalog"
        else:
            name = NAMES[self.command, is_binding]
        heard = Heard(
            operation=name,
            method=self.command,
            path=unquote(parts.path),
            query=dict(parse_qsl(parts.query)),
            headers={key.lower(): value for key, value in self.headers.items()},
            body=json.loads(raw) if raw else None,
            raw_query=parts.query,
        )
        self.server.heard.append(heard)
        return heard

    def _said(self, heard):
        planned = self.server.script[heard.operation]
        said = planned.pop(0) if planned else self.server.always.get(heard.operation)
        if said is None:
            return self.server.act(heard)
        if said.acts:
            self.server.act(heard)
        return said
