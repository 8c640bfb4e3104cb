"""A service broker's catalog (OSB API 2.17) read into what offerings are made of. Plain values in and out."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from core import money
from core.parameters.bounds import faults
from provisioning.services.broker_forms import Form, form_for

MAX_BYTES, MAX_DEPTH = 2 * 1024 * 1024, 40
MAX_SERVICES, MAX_PLANS, LONGEST_ID = 200, 50, 200
USUAL_CURRENCY = "USD"
USUAL_TIMEOUT, SPARE_SECONDS, LONGEST_TIMEOUT = 3600, 600, 90 * 86400
UNITS = {"HOURLY": "hour", "DAILY": "day", "WEEKLY": "week", "YEARLY": "year", "ANNUALLY": "year"}
MONTHLY = {"MONTHLY", "MONTH", "PER MONTH", "A MONTH"}
ONCE = {"ONCE", "ONE-OFF", "ONE_OFF", "ONE-TIME", "ONE_TIME", "ONE TIME", "SETUP"}


@dataclass(frozen=True)
class PriceFound:
    """One price: `kind` as catalog.Price has it, an amount in plain digits."""

    kind: str
    amount: str
    currency: str
    unit: str = ""


@dataclass
class PlanFound:
    """One plan; `limits` are what the connector is told when it is ordered."""

    id: str
    slug: str
    name: str
    description: str
    limits: dict[str, Any]
    prices: list[PriceFound] = field(default_factory=list)


@dataclass
class ServiceFound:
    """One service of the catalog; `problems` name in sentences what could not be taken over."""

    id: str
    slug: str
    name: str
    summary: str
    description: str
    inputs: dict[str, Any]
    timeout_seconds: int
    form: Form
    plans: list[PlanFound]
    problems: list[str]


def read(body: Any) -> tuple[list[ServiceFound], list[str]]:
    """Read a catalog. Give its services, and sentences on what is no service. Never raises."""
    if any(fault.kind in {"depth", "size"} for fault in faults(body, max_bytes=MAX_BYTES, max_depth=MAX_DEPTH)):
        return [], ["The broker's catalog is too large or nested too deeply."]
    listed = body.get("services") if isinstance(body, dict) else None
    if not isinstance(listed, list):
        return [], ["The broker's catalog has no list of services."]
    if not listed:
        return [], ["The broker lists no services."]
    problems = [] if len(listed) <= MAX_SERVICES else [f"Of {len(listed)} services the first {MAX_SERVICES} are read."]
    found: dict[str, ServiceFound] = {}
    for number, given in enumerate(listed[:MAX_SERVICES], start=1):
        name = line(given.get("name"), 60) if isinstance(given, dict) else ""
        service = _service(given) if name else None
        if service is None:
            problems.append(f"Service {name or number} has no usable id, name or plan and is left out.")
        elif service.id in found:
            problems.append(f"Service {name} has the id of {found[service.id].name} and is left out.")
        else:
            found[service.id] = service
    return list(found.values()), problems


def line(value: Any, longest: int) -> str:
    """Give text as one line without control characters, cut to `longest`; nothing for what is no text."""
    if not isinstance(value, str):
        return ""
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in value).split())
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"


def slug_of(name: str, *, longest: int) -> str:
    """Give a name in lower-case letters, digits and hyphens, a letter first, at least three of them."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    slug = slug if slug[:1].isalpha() else f"s-{slug}".rstrip("-")
    return (slug if len(slug) > 2 else f"{slug}-service")[:longest].rstrip("-")  # noqa: PLR2004 (the least of a slug)


def _service(given: dict[str, Any]) -> ServiceFound | None:
    plans = given.get("plans")
    if not _is_id(given.get("id")) or not isinstance(plans, list):
        return None
    problems: list[str] = []
    usable = list(_usable(plans, problems))
    if not usable:
        return None
    metadata = _object(given.get("metadata"))
    name = line(metadata.get("displayName"), 80) or line(given.get("name"), 80)
    form = form_for({line(plan["name"], 60): _schema_of(plan) for plan in usable})
    currency = _currency_of(usable)
    inputs: dict[str, Any] = {"service_id": literal(given["id"])}
    if given.get("instances_retrievable") is True:
        inputs["instances_retrievable"] = True
    if form.names:
        inputs["parameter_names"] = {at: literal(broker) for at, broker in form.names.items()}
    requires = [line(what, 40) for what in given.get("requires") or [] if isinstance(what, str)]
    if requires:
        problems.append(f"It requires {', '.join(requires)}, which only the broker's own platform has.")
    return ServiceFound(
        id=given["id"],
        slug=slug_of(line(given.get("name"), 200), longest=50),
        name=name,
        summary=line(given.get("description"), 200),
        description=_description(metadata),
        inputs=inputs,
        timeout_seconds=_timeout(usable),
        form=form,
        plans=_plans(usable, given, currency, problems),
        problems=problems + form.problems,
    )


def _usable(plans: list[Any], problems: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the plans that have an id of their own and a name."""
    seen: set[str] = set()
    for number, plan in enumerate(plans[:MAX_PLANS], start=1):
        is_plan = isinstance(plan, dict) and _is_id(plan.get("id")) and line(plan.get("name"), 60)
        if not is_plan or plan["id"] in seen:
            problems.append(f"Plan {number} has no name, or no id of its own, and is left out.")
            continue
        seen.add(plan["id"])
        yield plan
    if len(plans) > MAX_PLANS:
        problems.append(f"Of {len(plans)} plans the first {MAX_PLANS} are read.")


def _plans(plans: list[dict[str, Any]], service: dict[str, Any], currency: str, problems: list[str]) -> list[PlanFound]:
    made: list[PlanFound] = []
    for plan in plans:
        metadata = _object(plan.get("metadata"))
        name = line(metadata.get("displayName"), 60) or line(plan["name"], 60)
        slug = base = re.sub(r"[^a-z0-9]+", "-", plan["name"].lower()).strip("-")[:45].strip("-") or "plan"
        number = 2
        while slug in {known.slug for known in made}:
            slug, number = f"{base}-{number}", number + 1
        prices = list(_prices(plan, name, currency, problems))
        made.append(
            PlanFound(plan["id"], slug, name, line(plan.get("description"), 200), _limits(plan, service), prices)
        )
    return made


def _limits(plan: dict[str, Any], service: dict[str, Any]) -> dict[str, Any]:
    """Say what the connector must know of a plan: its id, whether it gives credentials, whether it can be left."""

    def says(name: str) -> bool:
        own = plan.get(name)
        return (own if isinstance(own, bool) else service.get(name)) is True

    limits: dict[str, Any] = {
        "plan_id": literal(plan["id"]),
        "bind": says("bindable"),
        "plan_updateable": says("plan_updateable"),
    }
    longest = plan.get("maximum_polling_duration")
    if isinstance(longest, int) and not isinstance(longest, bool) and 0 < longest <= LONGEST_TIMEOUT:
        limits["maximum_polling_duration"] = longest
    version = _object(plan.get("maintenance_info")).get("version")
    if isinstance(version, str) and 0 < len(version) <= LONGEST_ID:
        limits["maintenance_info"] = {"version": literal(version)}
    return limits


def _timeout(plans: list[dict[str, Any]]) -> int:
    """Give the step as long as its slowest plan may take, and some time more to say that it has failed."""
    longest = [_limits(plan, {}).get("maximum_polling_duration", 0) for plan in plans]
    return min(max(USUAL_TIMEOUT, *(seconds + SPARE_SECONDS for seconds in longest)), LONGEST_TIMEOUT)


# --- prices -----------------------------------------------------------------------------------------


def _costs(plan: dict[str, Any]) -> list[dict[str, Any]]:
    costs = _object(plan.get("metadata")).get("costs")
    return [cost for cost in costs if isinstance(cost, dict)] if isinstance(costs, list) else []


def _currencies(plan: dict[str, Any]) -> set[str]:
    found = {str(code).upper() for cost in _costs(plan) for code in _object(cost.get("amount"))}
    return {code for code in found if money.is_currency(code)}


def _currency_of(plans: list[dict[str, Any]]) -> str:
    """Choose the one currency of an offering: one that all plans with a price have, the usual one first."""
    each = [found for plan in plans if (found := _currencies(plan))]
    common = set.intersection(*each) if each else set()
    choice = common or set().union(*each) or {USUAL_CURRENCY}
    return USUAL_CURRENCY if USUAL_CURRENCY in choice else min(choice)


def _prices(plan: dict[str, Any], name: str, currency: str, problems: list[str]) -> Iterator[PriceFound]:
    """Yield the plan's prices in `currency`; free ones cost 0 a month."""
    others = sorted(_currencies(plan) - {currency})
    if others:
        problems.append(f"Plan {name}: prices in {', '.join(others)} are left out; an offering has one currency.")
    seen: set[tuple[str, str]] = set()
    for cost in _costs(plan):
        amounts = {str(code).upper(): amount for code, amount in _object(cost.get("amount")).items()}
        if currency not in amounts:
            continue
        price = _price(amounts[currency], line(cost.get("unit"), 40), currency)
        if price is None or (price.kind, price.unit) in seen:
            problems.append(
                f"Plan {name}: the price “{amounts[currency]!s:.40}” a {line(cost.get('unit'), 40)} is none."
            )
            continue
        seen.add((price.kind, price.unit))
        yield price
    if not seen and plan.get("free", True) is True:
        yield PriceFound("monthly", "0", currency)
    elif not seen:
        problems.append(f"Plan {name} is not free, and the catalog names no price: enter it.")


def _price(amount: Any, unit: str, currency: str) -> PriceFound | None:
    if isinstance(amount, bool) or not isinstance(amount, int | float):
        return None
    try:
        value = Decimal(str(amount))
        if not value.is_finite() or value < 0:
            return None
        if unit.upper() in MONTHLY or unit.upper() in ONCE:
            exact = money.parse_amount(f"{value:f}", currency)
            return PriceFound("monthly" if unit.upper() in MONTHLY else "one_off", f"{exact:f}", currency)
        if value >= 10**10 or not unit:
            return None
        return PriceFound("per_use", f"{round(value, 6).normalize():f}", currency, UNITS.get(unit.upper(), unit))
    except (ValueError, InvalidOperation):
        return None


# --- texts ------------------------------------------------------------------------------------------


def _description(metadata: dict[str, Any]) -> str:
    told = metadata.get("longDescription")
    text = "".join(letter for letter in told if letter.isprintable() or letter == "\n") if isinstance(told, str) else ""
    links = [
        f"- [{title}]({url})"
        for key, title in (("documentationUrl", "Documentation"), ("supportUrl", "Support"))
        if (url := line(metadata.get(key), 500)).startswith("https://") and not set(url) & set("()<> ")
    ]
    return "\n\n".join(part for part in (text.strip()[:15_000], "\n".join(links)) if part)


def _schema_of(plan: dict[str, Any]) -> Any:
    return _object(_object(_object(plan.get("schemas")).get("service_instance")).get("create")).get("parameters")


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_ID and value.isprintable()


def literal(text: str) -> str:
    """Write text so that the engine, which fills templates, sends it as it is."""
    return text.replace("${", "$${")
