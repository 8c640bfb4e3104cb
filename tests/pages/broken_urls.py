"""The site's routes, and two that fail: one by our mistake, one because the database is away."""

from django.db import connections
from django.urls import include, path

from config.urls import handler400, handler404, handler500
from core.transactions import Busy

__all__ = ["handler400", "handler404", "handler500"]


def mistake(request):
    """Fail as nobody foresaw."""
    raise ZeroDivisionError("a secret detail")


def away(request):
    """Ask a database that is not there."""
    database = connections.create_connection("default")
    database.settings_dict = database.settings_dict | {"HOST": "127.0.0.1", "PORT": "1"}
    database.ensure_connection()


def busy(request):
    """Find the database overloaded."""
    raise Busy("Too many people are changing the same thing right now.")


urlpatterns = [
    path("mistake/", mistake),
    path("away/", away),
    path("busy/", busy),
    path("api/v1/mistake/", mistake),
    path("api/v1/away/", away),
    path("", include("config.urls")),
]
