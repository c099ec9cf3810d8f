"""The four errors that a caller can meet.

    MastheadError
      InvalidInput    the caller's value cannot be used; the message names field, value and domain
      NotFound        the named thing does not exist
      Conflict        it exists, but its state or its content forbids the action
      LimitReached    a stated bound (size, number, rate, disk) would be exceeded
        Unavailable   what is needed does not answer now; the same again may succeed

Messages follow one form, `field: expected DOMAIN, got VALUE`, so that a person knows what to change.
Each boundary adds its noun with `raise ... from`.
"""

from collections.abc import Iterable, Mapping

__all__ = [
    "Conflict",
    "InvalidInput",
    "LimitReached",
    "MastheadError",
    "NotFound",
    "Unavailable",
    "nearest",
    "renamed",
    "shown",
]


class MastheadError(Exception):
    """What every error that Masthead raises on purpose derives from."""

    code = "Error"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field if field is not None else _leading_field(message)


class InvalidInput(MastheadError):
    """The caller's value cannot be used."""

    code = "InvalidInput"


class NotFound(MastheadError):
    """The named thing does not exist."""

    code = "NotFound"


class Conflict(MastheadError):
    """The thing exists, but its state or content forbids the action."""

    code = "Conflict"


class LimitReached(MastheadError):
    """A stated bound would be exceeded."""

    code = "LimitReached"


class Unavailable(LimitReached):
    """What is needed, a database say, does not answer now: the same again in some seconds may succeed."""


def _leading_field(message: str) -> str | None:
    """Return the field that a message of the form `field: ...` names, or None."""
    head, colon, _ = message.partition(":")
    return head if colon and head and " " not in head else None


def renamed(error: MastheadError, names: Mapping[str, str]) -> MastheadError:
    """Return the same error with the field's name as its reader wrote it.

    >>> renamed(InvalidInput("train_until: expected a time, got 7"), {"train_until": "--train-until"}).message
    '--train-until: expected a time, got 7'
    """
    name = names.get(error.field or "")
    if name is None or not error.message.startswith(f"{error.field}:"):
        return error
    return type(error)(f"{name}:{error.message.partition(':')[2]}", field=name)


def shown(value: object, limit: int = 120) -> str:
    """Return `value` as it may stand in a message: quoted, on one line and cut at `limit` characters.

    >>> shown("a" * 200, limit=8)
    "'aaaaaaa..."
    """
    text = repr(value)
    return text if len(text) <= limit else text[:limit] + "..."


def nearest(name: str, known: Iterable[str], *, likeness: float = 0.0) -> str:
    """Return the known name that looks most like `name`; "" when none does by at least `likeness`, from 0 to 1.

    >>> nearest("prot", ["host", "port"])
    'port'
    """
    import difflib  # only where somebody has mistyped

    return next(iter(difflib.get_close_matches(name, sorted(known), n=1, cutoff=likeness)), "")
