"""The objects that a workflow step describes: checked, marked as ours, and the passwords in their places."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core import secrets
from provisioning.connectors.base import Call, Failed

MARK = "greenlane/instance"  # the label of what is ours; its value is the instance's id
MOST = 40
# What may stand in an address without meaning anything there; stricter than Kubernetes is with some kinds.
NAME = re.compile(r"[a-z0-9A-Z](?:[a-z0-9A-Z:._-]{0,251}[a-z0-9A-Z])?")
VERSION = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]{0,200}[a-z0-9])?/)?v[a-z0-9]{1,30}")
KIND = re.compile(r"[A-Z][A-Za-z0-9]{0,62}")
SECRET = "$secret"  # noqa: S105 (a placeholder)


@dataclass(frozen=True)
class Wanted:
    """One object as the step wants it, marked as ours, with the places of passwords still empty."""

    version: str
    kind: str
    name: str
    namespace: str
    body: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def wanted_of(call: Call) -> list[Wanted]:
    """Give the objects of the step's manifests in their order. Raises Failed, with nothing done, for what is wrong."""
    manifests = call.inputs.get("manifests")
    if not isinstance(manifests, list) or not 1 <= len(manifests) <= MOST:
        raise wrong(f"“manifests” must be a list of 1 to {MOST} objects")
    objects = [_wanted(call, manifest, at) for at, manifest in enumerate(manifests)]
    seen = {(one.version.partition("/")[0], one.kind, one.namespace, one.name) for one in objects}
    if len(seen) < len(objects):
        raise wrong("two of “manifests” describe the same object")
    return objects


def uses_secrets(manifest: Any) -> bool:
    """Tell whether a password stands anywhere in a manifest, by its placeholder."""
    if isinstance(manifest, list):
        return any(uses_secrets(one) for one in manifest)
    if not isinstance(manifest, dict):
        return False
    return SECRET in manifest or any(uses_secrets(one) for one in manifest.values())


def sent(call: Call, wanted: Wanted) -> dict[str, Any]:
    """Give what is sent to apply an object, with the call's passwords in it. Raises Failed for one that is not drawn.

    `stringData` becomes `data`: only that is owned by who applies it, and goes away with him.
    """
    if wanted.version != "v1" or wanted.kind != "Secret" or "stringData" not in wanted.body:
        return wanted.body
    data = dict(wanted.body.get("data") or {})
    for key, value in wanted.body["stringData"].items():
        data[key] = base64.b64encode(_text(call, value).encode()).decode()
        if not isinstance(value, str):  # an error of the cluster's may repeat it as it was sent
            secrets.remember(data[key])
    return {**{key: value for key, value in wanted.body.items() if key != "stringData"}, "data": data}


def _text(call: Call, value: Any) -> str:
    if isinstance(value, str):
        return value
    if value[SECRET] not in call.secrets:
        raise wrong(f"there is no password “{value[SECRET][:40]}”; name it in “secrets”")
    return call.secrets[value[SECRET]]


def is_ours(found: Mapping[str, Any], call: Call) -> bool:
    """Tell whether an object carries the mark of the call's instance."""
    labels = found.get("metadata", {}).get("labels")
    return isinstance(labels, dict) and labels.get(MARK) == str(call.instance_id)


def wrong(what: str) -> Failed:
    """Give what to raise for a step that cannot work."""
    return Failed(f"The workflow's step is wrong: {what}.", left_nothing=True)


def _wanted(call: Call, manifest: Any, at: int) -> Wanted:
    metadata = manifest.get("metadata") if isinstance(manifest, dict) else None
    if not isinstance(metadata, dict):
        raise wrong(f"manifest {at} must be an object with apiVersion, kind and metadata")
    version, kind, name = (str(one) for one in (manifest.get("apiVersion"), manifest.get("kind"), metadata.get("name")))
    namespace = metadata.get("namespace") or call.inputs.get("namespace") or ""
    if not VERSION.fullmatch(version) or not KIND.fullmatch(kind):
        raise wrong(f"manifest {at} has no proper apiVersion and kind")
    if not is_name(metadata.get("name")) or (namespace and not is_name(namespace)):
        raise wrong(f"manifest {at}: names and namespaces have letters, digits, “-” and “.” only, not “{name[:60]}”")
    labels = metadata.get("labels") or {}
    if not isinstance(labels, dict):
        raise wrong(f"the labels of manifest {at} must be an object")
    _check_secrets(manifest, at)
    body = {**manifest, "metadata": {**metadata, "labels": {**labels, MARK: str(call.instance_id)}}}
    return Wanted(version, kind, name, str(namespace), body)


def is_name(name: Any) -> bool:
    """Tell whether `name` can stand in an address and leads nowhere else there."""
    return isinstance(name, str) and ".." not in name and NAME.fullmatch(name) is not None


def _check_secrets(manifest: dict[str, Any], at: int) -> None:
    """Raise Failed where {"$secret": name} stands anywhere but in the texts of a Secret."""
    is_secret = manifest.get("apiVersion") == "v1" and manifest.get("kind") == "Secret"
    if uses_secrets({key: value for key, value in manifest.items() if not (is_secret and key == "stringData")}):
        raise wrong(f"manifest {at}: passwords may stand in “stringData” of a Secret alone")
    if is_secret and not isinstance(manifest.get("data") or {}, dict):
        raise wrong(f"“data” of manifest {at} must be an object")
    texts = manifest.get("stringData", {}) if is_secret else {}
    if not isinstance(texts, dict) or not all(isinstance(one, str) or _is_placeholder(one) for one in texts.values()):
        raise wrong(f"“stringData” of manifest {at} must be an object of texts")


def _is_placeholder(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {SECRET} and isinstance(value[SECRET], str)
