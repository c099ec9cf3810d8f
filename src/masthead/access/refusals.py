"""Why a request may not go on: a value, which each face tells in its own form."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["denied", "throttled", "quota", "address", "failures"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that is refused.

    Attributes:
        kind: `denied` by policy, `throttled`, `quota` spent, forbidden `address`, too many `failures`.
        message: What the caller is told.
        retry_after_s: When to come again; 0: never.
    """

    kind: Kind
    message: str
    retry_after_s: float = 0.0
