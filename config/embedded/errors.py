"""What can go wrong on one machine, said in one plain sentence."""


class EmbeddedError(RuntimeError):
    """A server cannot start or stop here; the message is one plain sentence."""
