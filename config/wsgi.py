"""The web process: `gunicorn config.wsgi`."""

import os
from typing import Any

import django
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.utils.http import parse_header_parameters

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")


class Utf8Request(WSGIRequest):
    """A request that is read as UTF-8. Django would read its address by any charset that the sender names.

    With `charset=zlib` that fails where no middleware can help yet: a 500 for anybody who asks.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        self.content_type, self.content_params = parse_header_parameters(meta.get("CONTENT_TYPE", ""))


class Handler(WSGIHandler):
    """Django's handler with such requests."""

    request_class = Utf8Request


django.setup(set_prefix=False)
application = Handler()
