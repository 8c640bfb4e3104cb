"""The route by which back ends send news of what they are at."""

import io
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import exceptions, serializers, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import AnonRateThrottle

import provisioning.services as provisioning
from core.api.input import TextField
from core.api.parsing import StrictJSONParser

MAX_BODY_BYTES = 64 * 1024


class NotSigned(exceptions.APIException):
    """The message carries no signature of that back end."""

    status_code = 401
    default_detail = "This message carries no valid signature of a back end known here."
    default_code = "not_signed"
    auth_header = "StandardWebhooks"


class TooLarge(exceptions.APIException):
    """The body is larger than news can be."""

    status_code = 413
    default_detail = f"The body is larger than {MAX_BODY_BYTES // 1024} KiB."
    default_code = "too_large"


class CallbackThrottle(AnonRateThrottle):
    """So many messages of one address."""

    scope = "callbacks"
    rate = "100/s"


class NewsBody(serializers.Serializer[Any]):
    """What a back end says of one step. Further fields are ignored."""

    default_error_messages = {"invalid": "The body must be a JSON object."}

    idempotency_key = serializers.UUIDField(required=False, help_text="The Idempotency-Key of the call it is about.")
    external_ref = TextField(required=False, max_length=200, help_text="Or the back end's own name of the thing.")
    status = serializers.ChoiceField(["succeeded", "failed", "working"])
    outputs = serializers.DictField(required=False, help_text="What the step's pointers read. Never a password.")
    detail = TextField(required=False, max_length=1000, help_text="One sentence.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse news that names no step."""
        if not attrs.get("idempotency_key") and not attrs.get("external_ref"):
            raise serializers.ValidationError("Name the step by idempotency_key or by external_ref.")
        return attrs


class NewsTaken(serializers.Serializer[Any]):
    """What became of the message."""

    result = serializers.ChoiceField(
        ["taken", "repeated", "unknown"], help_text="`repeated` and `unknown`: nothing was done."
    )


def _header(name: str, description: str) -> OpenApiParameter:
    return OpenApiParameter(name, str, OpenApiParameter.HEADER, required=True, description=description)


class CallbackViewSet(viewsets.ViewSet):
    """Signed news from back ends. The signature is all that counts here: no session, no token."""

    authentication_classes = []
    permission_classes = []
    throttle_classes = [CallbackThrottle]

    @extend_schema(
        summary="Tell that a step has ended",
        auth=[],
        parameters=[
            _header("webhook-id", "The message's own id: the same one counts once."),
            _header("webhook-timestamp", "Unix seconds, five minutes off at most."),
            _header("webhook-signature", "`v1,` and the base64 of HMAC-SHA-256 over `id.timestamp.body`."),
        ],
        request=NewsBody,
        responses={200: NewsTaken},
    )
    def receive(self, request: Request, slug: str) -> Response:
        """Take news of a step from the back end named in the address, signed as Standard Webhooks says."""
        # The signature is over the bytes as they came, so nothing reads the body before.
        raw = request._request.read(MAX_BODY_BYTES + 1)
        if len(raw) > MAX_BODY_BYTES:
            raise TooLarge
        headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            webhook_id = provisioning.check_signature(slug, headers, raw)
        except provisioning.NotSigned as error:
            raise NotSigned from error
        news = NewsBody(data=StrictJSONParser().parse(io.BytesIO(raw)))
        news.is_valid(raise_exception=True)
        return Response({"result": provisioning.take_news(slug, webhook_id, news.validated_data)})
