"""What stands in the top bar, by role. The pages check again."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

# Pages that are reached from another one, and belong to it.
BELOW = {"/runs/": ("/orphans/", "/back-ends/")}


def navigation(request: HttpRequest) -> dict[str, Any]:
    """Give templates the list of pages that this person may open."""
    person = getattr(request, "user", None)
    if person is None or not person.is_authenticated:
        return {"navigation": []}
    entries = [
        ("Catalog", "catalog:offering_list", "grid", True),
        ("My orders", "orders:order_list", "box", True),
        ("Tasks", "provisioning:manualtask_list", "inbox", person.has_perm("provisioning.view_manualtask")),
        ("Runs", "provisioning:run_list", "bolt", person.has_perm("provisioning.view_run")),
        ("Curation", "admin:index", "gauge", person.is_staff),
    ]
    return {
        "navigation": [
            {"label": label, "url": url, "icon": icon, "count": 0, "current": _is_current(request.path, url)}
            for label, name, icon, shown in entries
            if shown
            for url in [reverse(name)]
        ]
    }


def _is_current(path: str, url: str) -> bool:
    if url == "/":
        return path == "/" or path.startswith("/catalog/")
    return path.startswith((url, *BELOW.get(url, ())))
