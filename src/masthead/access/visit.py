"""What a face knows of a request once its caller has proved who it is, and how it says no."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from masthead.access.gate import Caller
from masthead.access.refusals import Refusal
from masthead.base.errors import MastheadError

if TYPE_CHECKING:
    from masthead.access.keys import KeyService

VISIT = "masthead.visit"
"""Where a request's scope holds its visit."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A caller, and the console's session that it belongs to; "" when it showed a key."""

    caller: Caller
    session: str = ""

    def still(self, keys: "KeyService") -> Caller | None:
        """Return the caller as its key is now; None when key or session have ended since."""
        if self.session:
            key = keys.session(self.session)
        else:
            found = keys.secret_of(self.caller.key.id)
            key = found[0] if found else None
        return replace(self.caller, key=key) if key else None


class Refused(MastheadError):
    """The gate says no; `refusal` says why."""

    code = "Forbidden"

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal, self.field = refusal, None


class SignedOut(MastheadError):
    """The session of a page has ended, or its key has."""

    code = "Unauthenticated"
