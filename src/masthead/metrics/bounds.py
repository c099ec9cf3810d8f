"""Limits of one installation's detectors. On a page of its own: commands name them without loading what runs."""

from dataclasses import dataclass

from masthead.base.errors import LimitReached


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of what one detector counts; beyond them `LimitReached` names what grew."""

    series: int = 50_000
    measures: int = 10
    dimensions: int = 10
    records: int = 1_000_000  # in one interval

    def require(self, *, measures: int, dimensions: int) -> None:
        """Refuse more measures or dimensions than a detector may have.

        Raises:
            LimitReached: There are more; which is named.
        """
        for name, count, most in (
            ("measures", measures, self.measures),
            ("dimensions", dimensions, self.dimensions),
        ):
            if count > most:
                raise LimitReached(f"{name}: expected at most {most:,}, got {count:,}")


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of one installation's detectors.

    Attributes:
        cube: Of one detector.
        detectors: Of the installation.
        results_keep_s: How long scores stay for charts. results_bytes: How many bytes of them at most.
        drain_s: While readings have come within so many real seconds, time is that of their arrival.
        start_s: How long after the start, in real seconds, readings that wait may take to come.
        waiting_records: Held in memory for a detector that still learns its history.
    """

    cube: Limits = Limits()
    detectors: int = 1_000
    results_keep_s: float = 400 * 86_400.0
    results_bytes: int = 10 << 30
    drain_s: float = 2.0
    start_s: float = 15.0
    waiting_records: int = 500_000
