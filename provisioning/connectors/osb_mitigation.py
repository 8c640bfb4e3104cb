"""Whether something may be left that has to be deleted: the table "Orphan Mitigation" of OSB API 2.17, row by row."""

from typing import NamedTuple

# The requests of the table. What is asked of `last_operation` is a request of its own there.
PROVISION, UPDATE, DEPROVISION, BIND, UNBIND = "provision", "update", "deprovision", "bind", "unbind"
POLL_PROVISION, POLL_DEPROVISION = "poll provision", "poll deprovision"
POLL_BIND, POLL_UNBIND = "poll bind", "poll unbind"
ALL: frozenset[str] = frozenset()

# The answers of the table.
TIMEOUT, FAILED, OTHER_2XX, OTHER_4XX, SERVER_ERROR = "time-out", "200 failed", "other 2xx", "other 4xx", "5xx"
UNDEFINED = "undefined"

# What is to be deleted.
NOTHING, INSTANCE, BINDING = "nothing", "instance", "binding"

# What they mean.
SUCCESS, FAILURE, NOT_RECEIVED, REJECTED, FAULT = "success", "failure", "not received", "rejected", "fault"


class Row(NamedTuple):
    """One row: for which requests and which answer, what it means, and what the platform should delete."""

    requests: frozenset[str]
    answer: str
    meaning: str
    delete: str


TABLE = (
    Row(ALL, "200", SUCCESS, NOTHING),
    Row(ALL, "200 malformed", FAILURE, NOTHING),
    Row(frozenset({POLL_PROVISION, POLL_DEPROVISION}), FAILED, FAILURE, INSTANCE),
    Row(frozenset({POLL_BIND, POLL_UNBIND}), FAILED, FAILURE, BINDING),
    Row(frozenset({PROVISION}), "201 malformed", FAILURE, INSTANCE),
    Row(frozenset({BIND}), "201 malformed", FAILURE, BINDING),
    Row(ALL, "201", SUCCESS, NOTHING),
    Row(ALL, "202", SUCCESS, NOTHING),
    Row(frozenset({PROVISION, DEPROVISION}), OTHER_2XX, FAILURE, INSTANCE),
    Row(frozenset({BIND, UNBIND}), OTHER_2XX, FAILURE, BINDING),
    Row(frozenset({UPDATE}), OTHER_2XX, FAILURE, NOTHING),
    Row(ALL, "408", NOT_RECEIVED, NOTHING),
    Row(ALL, OTHER_4XX, REJECTED, NOTHING),
    Row(frozenset({PROVISION, DEPROVISION}), SERVER_ERROR, FAULT, INSTANCE),
    Row(frozenset({BIND, UNBIND}), SERVER_ERROR, FAULT, BINDING),
    Row(frozenset({UPDATE}), SERVER_ERROR, FAULT, NOTHING),
    Row(frozenset({PROVISION}), TIMEOUT, FAILURE, INSTANCE),
    Row(frozenset({BIND}), TIMEOUT, FAILURE, BINDING),
    Row(ALL, TIMEOUT, FAILURE, NOTHING),
)
# An answer that the specification does not know, such as a redirect, promises nothing: whatever makes is suspected.
_UNDEFINED = {
    PROVISION: Row(frozenset({PROVISION}), UNDEFINED, FAILURE, INSTANCE),
    BIND: Row(frozenset({BIND}), UNDEFINED, FAILURE, BINDING),
}
_LAST = Row(ALL, UNDEFINED, FAILURE, NOTHING)


def row_for(request: str, answer: str) -> Row:
    """Give the row that says what `answer` to `request` means, and whether something is to be deleted."""
    for row in TABLE:
        if row.answer == answer and (request in row.requests or not row.requests):
            return row
    return _UNDEFINED.get(request, _LAST)


def answer_of(status: int, *, is_well_formed: bool) -> str:
    """Give the table's word for an HTTP status and whether its body is the JSON object that belongs to it.

    A 202 that cannot be read is none: without its `operation` nobody can ask how far it got.
    """
    if status in {200, 201}:
        return f"{status}" if is_well_formed else f"{status} malformed"
    if status == 202 and is_well_formed:  # noqa: PLR2004 (HTTP)
        return "202"
    if status == 408:  # noqa: PLR2004 (HTTP)
        return "408"
    return {2: OTHER_2XX, 4: OTHER_4XX, 5: SERVER_ERROR}.get(status // 100, UNDEFINED)
