"""What a service raises when it cannot do what was asked; pages and the API word it from here."""


class Invalid(Exception):  # noqa: N818 (what the input is)
    """The input is not acceptable: `errors` maps a JSON pointer ("/name") to one sentence."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__("; ".join(errors.values()))
        self.errors = errors


class Conflict(Exception):  # noqa: N818 (how things stand)
    """It cannot be done as things stand: `code` for machines, the text for people."""

    status = 409

    def __init__(self, code: str, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.retry_after = retry_after


class KeyReused(Conflict):
    """The idempotency key was used before for something else."""

    status = 422
