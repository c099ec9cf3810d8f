"""What of files of transactions and labels could not be used: counted by reason, and written row by row."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from masthead.fraud.data.columns import Events, Labels
from masthead.fraud.data.schema import Schema

__all__ = ["Unused", "by_reason"]


@dataclass(frozen=True, slots=True)
class Unused:
    """What was left out of what was read.

    Attributes:
        rows, labels: Reason -> rows of transactions, of labels, that are left out.
        values: Reason -> single values that are read as missing; their rows are used.
        strangers: Labels of transactions that the data lack.
        table: Each with row, file, column and reason.
    """

    rows: dict[str, int]
    values: dict[str, int]
    labels: dict[str, int]
    strangers: int
    table: pa.Table

    @staticmethod
    def of(schema: Schema, events: Events, labels: Labels) -> "Unused":
        """Return what reading these left out."""
        # Without an id or a time, or torn, a row is none; in any other column only the value is.
        whole = ("", schema.id, schema.time.column)
        is_row = pa.array([one in whole for one in events.problems["column"].to_pylist()], pa.bool_())
        is_value = pa.array([not one for one in is_row.to_pylist()], pa.bool_())
        return Unused(
            by_reason(events.problems.filter(is_row)),
            by_reason(events.problems.filter(is_value)),
            by_reason(labels.problems),
            int((labels.rows < 0).sum()),
            pa.concat_tables([events.problems, labels.problems]),
        )

    def counts(self) -> dict[str, dict[str, int]]:
        """Return what is left out, by kind and reason."""
        return {"rows": self.rows, "values": self.values, "labels": self.labels}

    def lines(self) -> list[str]:
        """Return sentences for a person."""
        kinds = (
            (self.rows, "rows of transactions are left out"),
            (self.values, "single values are read as missing"),
            (self.labels, "rows of labels are left out"),
        )
        told = [f"{sum(counts.values())} {text}: {_listed(counts)}" for counts, text in kinds if counts]
        if self.strangers:
            told.append(f"{self.strangers} labels are of transactions that the data lack")
        return told

    def write(self, path: Path) -> None:
        """Write each as a Parquet file, in place of what stood there."""
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(self.table, path)


def by_reason(problems: pa.Table) -> dict[str, int]:
    """Return reason -> how often, the most frequent first; without the values, which differ from row to row."""
    found: Counter[str] = Counter()
    for reason in problems["reason"].to_pylist():
        found[reason.partition(": ")[0].partition(", got")[0]] += 1
    return dict(found.most_common())


def _listed(counts: dict[str, int]) -> str:
    return "; ".join(f"{count} times {reason}" for reason, count in counts.items())
