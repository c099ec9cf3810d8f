"""A live detector that reads folders of objects: one folder per interval, each file once."""

import numpy as np

from masthead.base.clock import utc
from masthead.base.errors import InvalidInput, MastheadError
from masthead.metrics.intake import selection_of
from masthead.metrics.intervals import interval_start, interval_starts, next_start
from masthead.metrics.live import LiveDetector
from masthead.metrics.problems import Problems
from masthead.metrics.readers import Rows, read_rows
from masthead.metrics.sources import folder_sources
from masthead.metrics.timestamps import folder_for

__all__ = ["PathDetector"]

_PER_POLL = 50  # intervals closed in one turn, so that other detectors have theirs
_LOOK_BACK = 3  # folders looked at again for files that came too late


class PathDetector(LiveDetector):
    """Closes an interval when its end and delay have passed and its folder has been read."""

    def position(self) -> int | None:
        """Return None: no readings of the stream are needed."""
        return None

    def advance(self, sequence: int) -> None:
        """Nothing to do: the stream of readings is not read."""

    def poll(self, now_s: float) -> None:
        """Read and close what is due at `now_s`; the first interval is the one that runs when it is first polled."""
        self._settle()
        if self.intervals.next_s is None:
            self._begin_at(now_s)
        for _ in range(_PER_POLL):
            start_s = self.intervals.next_s
            if start_s is None or now_s < self._end(start_s) + self.spec.delay_s:
                return
            self._read(start_s, now_s)
            self._close(start_s)

    def _begin_at(self, now_s: float) -> None:
        self.intervals.next_s = max(
            interval_start(now_s, self.spec.interval_s, self.spec.zone), self.intervals.floor()
        )
        self._write("start", {"format": self._format, "intervals": self.intervals.to_json(), "files": {}})

    def _end(self, start_s: int) -> int:
        return next_start(start_s, self.spec.interval_s, self.spec.zone)

    def _read(self, start_s: int, now_s: float) -> None:
        """Put the rows of the interval's folder into the cube, and look for what came late to earlier ones."""
        cube = self.detection.cube
        if cube.records(start_s):
            return  # a try before this one had read it, and failed later
        for earlier in [*self._files]:
            rows = self._rows_of(int(earlier), now_s)
            self.intervals.counts.late += len(rows) if rows is not None else 0
        rows = self._rows_of(start_s, now_s)
        while len(self._files) > _LOOK_BACK:
            del self._files[min(self._files, key=int)]
        if rows is None:
            return
        starts = interval_starts(rows.times, self.spec.interval_s, self.spec.zone)
        self.intervals.counts.late += int((starts < start_s).sum())
        self._format = self._format or rows.time_format
        for start in np.unique(starts[starts >= start_s]).tolist():
            cube.add(start, rows.take(starts == start))

    def _rows_of(self, start_s: int, now_s: float) -> Rows | None:
        """Return the rows of the folder's files that were not read before; None = nothing usable."""
        known = self._files.setdefault(str(start_s), [])
        assert self.spec.source is not None
        folder = folder_for(self.spec.source.template, start_s, self.spec.zone)
        sources = folder_sources(folder, self._around.objects, without=frozenset(known))
        if not sources:
            return None
        known.extend(source.name for source in sources)
        problems = Problems()
        try:
            rows = read_rows(
                sources,
                selection_of(self.spec, self._format),
                self.spec.source.format,
                problems=problems,
                latest_s=now_s + self.spec.interval_s,
            )
        except (InvalidInput, MastheadError) as error:
            rows = None
            problems.add(folder, 0, "", "", str(error))
        if len(problems):
            self.intervals.counts.refused.update(problems.by_reason)
            lines = "\n".join(str(problem.to_json()) for problem in problems.kept)
            place = f"s3://errors/detectors/{self.name}/{utc(start_s):%Y%m%dT%H%M%S}-{len(known):06d}.jsonl"
            self._around.objects.put(place, lines.encode(), create_only=True)
            self._around.journal.write(
                "detector",
                self.name,
                "files refused in part",
                folder=folder,
                reasons=dict(problems.by_reason),
            )
        return rows
