"""Delivery buffers: records go in by partition, chunks that become one object each come out.

Sans-IO: no clock, no store; time is an argument. A partition is the interval in which its records happened, or
`arrival` for a stream without event times, or `error`. Records enter in the order of the log and a chunk takes all
that a partition holds, so for each partition one number, the highest sequence in its chunks, says what is delivered.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

ARRIVAL = "arrival"
ERROR = "error"
MOST_PARTITIONS = 64
BUFFERS_HELD = 4  # times the buffer size: what a stream may hold before it stops taking


@dataclass(slots=True, eq=False)
class Chunk:
    """The content of one object. `instant` (epoch s) is what every expression in its name is evaluated at."""

    partition: str
    instant: float
    from_sequence: int
    through_sequence: int
    lines: list[bytes]
    size: int
    digests: list[bytes]
    opened: float
    late: bool = False

    @property
    def data(self) -> bytes:
        return b"".join(self.lines)


@dataclass(slots=True)
class Buffers:
    """The open partitions of one stream.

    Args:
        buffer_s: Age at which a partition is due, s.
        buffer_bytes: Size at which a partition is due.
    """

    buffer_s: float
    buffer_bytes: int
    open: dict[str, Chunk] = field(default_factory=dict)
    ends: dict[str, float] = field(default_factory=dict)
    size: int = 0

    def append(
        self,
        partition: str,
        line: bytes,
        *,
        sequence: int,
        instant: float,
        now: float,
        end: float | None = None,
        late: bool = False,
        digest: bytes | None = None,
    ) -> None:
        """Add one line. `instant` counts for the first line only; `end` is when the interval of the partition ends."""
        chunk = self.open.get(partition)
        if chunk is None:
            chunk = Chunk(partition, instant, sequence, sequence, [], 0, [], now, late)
            self.open[partition] = chunk
            if end is not None:
                self.ends[partition] = end
        chunk.lines.append(line)
        chunk.through_sequence = sequence
        chunk.size += len(line)
        self.size += len(line)
        if digest is not None:
            chunk.digests.append(digest)

    def due(self, now: float, *, watermark: float, held: Collection[str] = ()) -> list[str]:
        """Return the partitions to cut now, oldest first: full, old enough, sealed by the watermark, or too many.

        Those in `held` are never among them. A partition opened after its interval was sealed waits for the hints.
        """
        free = [chunk for name, chunk in self.open.items() if name not in held]
        found = [chunk for chunk in free if self._is_due(chunk, now, watermark)]
        size_after = sum(chunk.size for chunk in free) - sum(chunk.size for chunk in found)
        most = (BUFFERS_HELD - 1) * self.buffer_bytes
        if len(free) - len(found) > MOST_PARTITIONS or size_after > most:
            rest = sorted((chunk for chunk in free if chunk not in found), key=lambda chunk: chunk.opened)
            while len(rest) > MOST_PARTITIONS or size_after > most:
                found.append(rest.pop(0))
                size_after -= found[-1].size
        return [chunk.partition for chunk in sorted(found, key=lambda chunk: chunk.opened)]

    def _is_due(self, chunk: Chunk, now: float, watermark: float) -> bool:
        if chunk.size >= self.buffer_bytes or now - chunk.opened >= self.buffer_s:
            return True
        return not chunk.late and watermark >= self.ends.get(chunk.partition, float("inf"))

    def cut(self, partition: str) -> Chunk | None:
        """Return all that a partition holds, and close it; None when it holds nothing."""
        chunk = self.open.pop(partition, None)
        self.ends.pop(partition, None)
        if chunk is not None:
            self.size -= chunk.size
        return chunk

    def first_sequence(self) -> int | None:
        """Return the lowest sequence that an open partition holds."""
        return min((chunk.from_sequence for chunk in self.open.values()), default=None)
