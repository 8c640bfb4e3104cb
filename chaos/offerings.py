"""What is ordered: workflows of one step and of many, at one back end and at several, good ones and bad ones."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import accounts.services as accounts
import catalog.services as catalog
from chaos.far_side import BROKEN, REFUSED, SLOWLY
from tests.factories import organization, published_offering

BACK_END = "far-side"
MAX_ATTEMPTS = 8
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Kind:
    """One offering: its steps as (connector, name at the far side), how often it is drawn, whether it can succeed."""

    slug: str
    steps: tuple[tuple[str, str], ...]
    weight: int
    succeeds: bool = True

    @property
    def rest(self) -> list[str]:
        """The things that one service of this kind has at the REST back end."""
        return [name for connector, name in self.steps if connector == "http"]

    def has(self, connector: str) -> bool:
        """Tell whether one of its steps is done by `connector`."""
        return any(used == connector for used, _ in self.steps)


KINDS = {
    kind.slug: kind
    for kind in (
        Kind("one-step", (("http", "disk"),), 6),
        Kind("three-steps", (("http", "disk"), ("http", "address"), ("http", "name")), 6),
        Kind("polled", (("http", "disk"), ("http", SLOWLY), ("http", "name")), 3),
        Kind("database", (("postgresql", ""),), 2),
        Kind("cache", (("redis_acl", ""),), 3),
        Kind("at-both", (("http", "disk"), ("postgresql", ""), ("http", "name")), 2),
        Kind("refused-at-last", (("http", "disk"), ("redis_acl", ""), ("http", REFUSED)), 3, succeeds=False),
        Kind("broken-at-second", (("http", "disk"), ("http", BROKEN), ("http", "name")), 2, succeeds=False),
    )
}


@dataclass(frozen=True)
class Shop:
    """Who orders, and the hash of the terms of each offering."""

    token: str
    terms: dict[str, str] = field(default_factory=dict)

    def body(self, kind: Kind, name: str) -> dict[str, Any]:
        """Give the API's body of an order."""
        return {
            "action": "add",
            "plan": f"{kind.slug}/small",
            "name": name,
            "cost_center": "4100",
            "parameters": {},
            "terms_hash": self.terms[kind.slug],
            "purpose": "test",
            "data_classification": "internal",
        }


def open_shop(address: str, credential: str) -> Shop:
    """Make people, the back end at `address` and every offering, all through the services."""
    people = organization()
    catalog.save_back_end(
        None,
        slug=BACK_END,
        name="The far side",
        connector="http",
        address=address,
        config={"auth": "bearer"},
        credentials={"token": credential},
        limit=None,
        is_active=True,
        actor=people.curator,
    )
    terms = {}
    for kind in KINDS.values():
        offering = published_offering(people, kind.slug, steps=[_step(*step) for step in kind.steps])
        terms[kind.slug] = offering.current_version.terms_hash  # type: ignore[union-attr]
    _, token = accounts.create_token(
        people.business, label="chaos", scopes=["read", "order"], expires_in=timedelta(days=2), actor=people.business
    )
    return Shop(token, terms)


def _step(connector: str, name: str) -> dict[str, Any]:
    if connector != "http":
        return {"name": f"Making it with {connector}", "connector": connector, "max_attempts": MAX_ATTEMPTS}
    path = f"/things/${{instance.id}}/{name}"
    inputs: dict[str, Any] = {
        "method": "PUT",
        "path": path,
        "body": {"called": "${instance.name}", "for": "${requester.username}"},
        "external_ref": "/ref",
        "outputs": {f"{name}_url": "/url"},
        "secret_outputs": {f"{name}_password": "/password"},
        "undo": {"method": "DELETE", "path": path},
        "describe": {"method": "GET", "path": path},
    }
    if name == SLOWLY:
        inputs["poll"] = {"path": path, "every": POLL_SECONDS}
    attempts = 2 if name == BROKEN else MAX_ATTEMPTS
    return {
        "name": f"Making the {name}",
        "connector": "http",
        "back_end": BACK_END,
        "inputs": inputs,
        "max_attempts": attempts,
    }
