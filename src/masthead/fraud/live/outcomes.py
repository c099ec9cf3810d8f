"""How decisions turned out: precision and recall at work, of all, and of those that nobody looked into.

Reviewed transactions are a chosen sample: who looks into them finds more fraud than who does not, and what a review
stopped is never charged back. So a share is drawn by the id alone (`Terms.release_share`): of it, what would have been
a review passes. Those, and what passed anyway of the same draw, are one fair sample of all but the blocked ones.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from masthead.fraud.live.terms import is_released
from masthead.fraud.store.feed_results import Decided

__all__ = ["told_outcomes"]

Json = dict[str, Any]


@dataclass(slots=True)
class _Tally:
    decided: int = 0
    known: int = 0
    flagged: int = 0
    caught: int = 0
    frauds: int = 0

    def take(self, one: Decided, value: int) -> None:
        """Count a decision with its outcome, -1 = unknown."""
        self.decided += 1
        if value >= 0:
            self.known += 1
            self.flagged += one.flagged
            self.caught += one.flagged and value
            self.frauds += value

    def to_json(self) -> Json:
        """Return the counts, and the shares that follow."""
        return {
            **asdict(self),
            "precision": self.caught / self.flagged if self.flagged else None,
            "recall": self.caught / self.frauds if self.frauds else None,
        }


def told_outcomes(
    decisions: Iterable[Decided], *, mature_before: int, shares: Mapping[str, float]
) -> dict[str, Json]:
    """Return counts, precision and recall of `all` decisions whose outcome is known and of the `released` sample.

    Args:
        mature_before: What happened before, and was not called fraud, is presumed legitimate, UTC microseconds. Of
            the sample nothing later counts, as early labels are of frauds.
        shares: Deployment -> the share that it releases.
    """
    every, sample = _Tally(), _Tally()
    for one in decisions:
        mature = one.ts < mature_before
        value = max(one.value, 0) if mature else one.value
        every.take(one, value)
        drawn = one.released or (not one.flagged and is_released(one.id, shares.get(one.alias, 0.0)))
        if drawn and mature:
            sample.take(one, value)
    return {"all": every.to_json(), "released": sample.to_json()}
