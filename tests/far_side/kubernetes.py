"""A Kubernetes API as connectors see it: discovery, server-side apply with managed fields, deletion in the foreground.

Controllers are played too: an object is ready, or gone, after it has been looked at as often as `takes` says.
"""

import base64
import copy
import itertools
import re

from tests.far_side.json_server import JsonServer, Said

TOKEN = "kubernetes-token-of-greenlane"
KINDS = {
    "/api/v1": {
        "Namespace": ("namespaces", False),
        "Secret": ("secrets", True),
        "ConfigMap": ("configmaps", True),
        "Service": ("services", True),
        "PersistentVolumeClaim": ("persistentvolumeclaims", True),
        "Pod": ("pods", True),
    },
    "/apis/apps/v1": {
        "Deployment": ("deployments", True),
        "StatefulSet": ("statefulsets", True),
        "DaemonSet": ("daemonsets", True),
    },
    "/apis/batch/v1": {"Job": ("jobs", True)},
    "/apis/shop.example/v1beta1": {"Cluster": ("clusters", True)},
}
PATH = re.compile(r"(/apis?(?:/[a-z0-9.]+)?/v[0-9a-z]+)(?:/namespaces/([^/]+)(?=/[^/]+/))?(?:/([a-z]+)/([^/]+))?")


def leaves(value, at=()):
    """Give every leaf of a JSON value with its path; lists count as a whole."""
    if isinstance(value, dict) and value:
        for name, below in value.items():
            yield from leaves(below, (*at, name))
    else:
        yield at, value


def put(document, at, value):
    """Set what stands at a path."""
    for name in at[:-1]:
        document = document.setdefault(name, {})
    document[at[-1]] = value


def cut(document, at):
    """Take away what stands at a path."""
    for name in at[:-1]:
        document = document.get(name, {})
    document.pop(at[-1], None)


def status_of(found):
    """Give the status that the controllers write once all is well."""
    generation, replicas = found["metadata"]["generation"], found.get("spec", {}).get("replicas", 1)
    true = {"status": "True"}
    return {
        "Deployment": {"observedGeneration": generation, "updatedReplicas": replicas}
        | {"conditions": [{"type": "Available"} | true]},
        "StatefulSet": {"observedGeneration": generation, "readyReplicas": replicas, "updatedReplicas": replicas},
        "DaemonSet": {"observedGeneration": generation, "desiredNumberScheduled": 2, "numberAvailable": 2}
        | {"updatedNumberScheduled": 2},
        "Job": {"conditions": [{"type": "Complete"} | true]},
        "Pod": {"phase": "Running", "conditions": [{"type": "Ready"} | true]},
        "PersistentVolumeClaim": {"phase": "Bound"},
        "Namespace": {"phase": "Active"},
        "Service": {"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}},
        "Cluster": {"conditions": [{"type": "Ready"} | true, {"type": "Healthy"} | true]},
    }.get(found["kind"], {})


class KubernetesServer(JsonServer):
    """Objects in memory, by path. `takes[kind]`: looks until it is ready; `lingers`: looks until a deleted one goes."""

    def __init__(self, **options):
        self.objects = {}
        self.managers = {}
        self.takes = {}
        self.lingers = 0
        self.looks = {}
        self.uids = itertools.count(1)
        super().__init__(**options)
        self.make("/api/v1/namespaces/shop", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})

    def make(self, path, body, manager="somebody"):
        """Put an object there, managed by somebody else."""
        found = copy.deepcopy(body)
        found["metadata"] |= {"uid": f"uid-{next(self.uids)}", "generation": 1}
        found["status"] = status_of(found)
        self.objects[path] = found
        self.managers[path] = {manager: {at for at, _ in leaves(body)}}

    def names(self):
        """List the objects that are there, without the namespace that was there before."""
        return [path.rsplit("/", 2)[-2:] for path in self.objects if path != "/api/v1/namespaces/shop"]

    def act(self, heard):
        """Answer as the API server does."""
        if heard.headers.get("authorization") != f"Bearer {TOKEN}":
            return self._refused(401, "Unauthorized")
        found = PATH.fullmatch(heard.path)
        if found is None or found[1] not in KINDS:
            return self._refused(404, "the server could not find the requested resource")
        if found[3] is None:
            return self._discovery(found[1])
        if heard.method == "PATCH":
            return self._apply(heard, found)
        if heard.method == "DELETE":
            return self._delete(heard)
        return self._read(heard)

    def _refused(self, status, message):
        return Said(status, {"kind": "Status", "status": "Failure", "message": message, "code": status})

    def _discovery(self, root):
        rows = [
            {"name": name, "kind": kind, "namespaced": is_namespaced}
            for kind, (name, is_namespaced) in KINDS[root].items()
        ]
        below = [{"name": f"{row['name']}/status", "kind": row["kind"], "namespaced": True} for row in rows]
        return Said(200, {"kind": "APIResourceList", "resources": [*below, *rows]})

    def _apply(self, heard, found):
        if heard.headers.get("content-type") != "application/apply-patch+yaml":
            return self._refused(415, "the body of the request was in an unknown format")
        body, manager = copy.deepcopy(heard.body), heard.query["fieldManager"]
        kind = body.get("kind")
        if KINDS[found[1]].get(kind, ("", None)) != (found[3], bool(found[2])) or body["metadata"]["name"] != found[4]:
            return self._refused(400, "the object does not fit the address")
        if found[2] and f"/api/v1/namespaces/{found[2]}" not in self.objects:
            return self._refused(404, f'namespaces "{found[2]}" not found')
        there = self.objects.get(heard.path)
        wanted = dict(leaves(body))
        conflict = self._conflict(heard.path, wanted, manager)
        if conflict:
            return self._refused(409, conflict)
        result = copy.deepcopy(there) if there else {"metadata": {"uid": f"uid-{next(self.uids)}", "generation": 0}}
        for at in self.managers.get(heard.path, {}).get(manager, set()) - wanted.keys():
            cut(result, at)
        for at, value in wanted.items():
            put(result, at, value)
        for key, text in result.pop("stringData", {}).items():
            put(result, ("data", key), base64.b64encode(text.encode()).decode())
        if result != there:
            result["metadata"]["generation"] += 1
            self.looks[heard.path] = 0
        if heard.query.get("dryRun") != "All":
            self.objects[heard.path] = result
            self.managers.setdefault(heard.path, {})[manager] = set(wanted)
        return Said(201 if there is None else 200, result)

    def _conflict(self, path, wanted, manager):
        there = dict(leaves(self.objects.get(path, {})))
        for other, owned in self.managers.get(path, {}).items():
            for at in owned & wanted.keys() if other != manager else ():
                if there.get(at) != wanted[at]:
                    return f'Apply failed with 1 conflict: "{other}" has .{".".join(at)}'
        return ""

    def _read(self, heard):
        found = self.objects.get(heard.path)
        if found is None:
            return self._refused(404, "not found")
        self.looks[heard.path] = looks = self.looks.get(heard.path, 0) + 1
        if found["metadata"].get("deletionTimestamp") and looks > self.lingers:
            self.remove(heard.path)
            return self._refused(404, "not found")
        if looks > self.takes.get(found["kind"], 0):
            found["status"] = status_of(found)
        return Said(200, found)

    def remove(self, path):
        """Take an object away as if it had never been."""
        del self.objects[path]
        self.managers.pop(path, None)

    def _delete(self, heard):
        found = self.objects.get(heard.path)
        if found is None:
            return self._refused(404, "not found")
        if heard.body["preconditions"]["uid"] != found["metadata"]["uid"]:
            return self._refused(409, "the UID in the precondition does not match")
        if heard.body["propagationPolicy"] != "Foreground":
            return self._refused(400, "what belongs to it would be left")
        found["metadata"]["deletionTimestamp"] = "2026-11-24T12:00:00Z"
        self.looks[heard.path] = 0
        return Said(200, found)
