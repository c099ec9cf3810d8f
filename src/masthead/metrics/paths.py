"""A live detector that reads folders of objects: one folder per interval, each file once.

A folder is read when its interval's end and delay have passed. Where delivery streams of our own fill it by event
time, their word counts instead: once all of them have sealed the interval it is read at once; without that word, as
when nothing comes any more, after the time in which their buffers are surely put.
"""

from collections.abc import Sequence

import numpy as np

from masthead.base.clock import utc
from masthead.base.errors import InvalidInput, MastheadError
from masthead.metrics.feeds import Feed
from masthead.metrics.intake import selection_of
from masthead.metrics.intervals import interval_start, interval_starts, next_start
from masthead.metrics.live import LiveDetector, Surroundings
from masthead.metrics.problems import Problems
from masthead.metrics.readers import Rows, read_rows
from masthead.metrics.records import Detector, error_place
from masthead.metrics.sources import fixed_part, folder_sources
from masthead.metrics.timestamps import folder_for

__all__ = ["PathDetector"]

_PER_POLL = 50  # intervals closed in one turn, so that other detectors have theirs
_LATE_S = 86_400  # files that come too late are looked for in the folders of the last day,
_LATE_FOLDERS = 3  # or in so many, where a day has fewer,
_LATE_EVERY_S = 60.0  # once a minute,
_LATE_LISTINGS = 100  # with so many listings of the store at most: more folders take turns
_LATE_FILES = 20_000  # names remembered; beyond, the oldest folders are given up
_SLACK_S = 30.0  # what an object may still be on its way after its buffer's time


class PathDetector(LiveDetector):
    """Closes an interval when its end and delay have passed and its folder has been read."""

    def __init__(self, detector: Detector, around: Surroundings) -> None:
        super().__init__(detector, around)
        self._looked_s = -np.inf
        self._turn = 0

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
        if now_s - self._looked_s >= _LATE_EVERY_S:
            self._looked_s = now_s
            self._look_for_late(now_s)
        feeds = [feed for feed in self._around.feeds.of(self.spec) if feed.interval_s == self.spec.interval_s]
        for _ in range(_PER_POLL):
            start_s = self.intervals.next_s
            if start_s is None or not self._is_due(start_s, now_s, feeds):
                return
            self._read(start_s, now_s)
            self._close(start_s)

    def _is_due(self, start_s: int, now_s: float, feeds: Sequence[Feed]) -> bool:
        if feeds and all(self._around.feeds.is_sealed(feed.name, start_s) for feed in feeds):
            return True
        slack_s = max((feed.buffer_s for feed in feeds), default=-_SLACK_S) + _SLACK_S
        return now_s >= self._end(start_s) + self.spec.delay_s + slack_s

    def _begin_at(self, now_s: float) -> None:
        self.intervals.next_s = max(
            interval_start(now_s, self.spec.interval_s, self.spec.zone), self.intervals.floor()
        )
        self._write("start", {"format": self._format, "intervals": self.intervals.to_json(), "files": {}})

    def _end(self, start_s: int) -> int:
        return next_start(start_s, self.spec.interval_s, self.spec.zone)

    def _read(self, start_s: int, now_s: float) -> None:
        """Put the rows of the interval's folder into the cube; rows of intervals before it are late."""
        cube = self.detection.cube
        if cube.records(start_s):
            return  # a try before this one had read it, and failed later
        rows = self._rows_of(start_s, now_s)
        if rows is None:
            return
        starts = interval_starts(rows.times, self.spec.interval_s, self.spec.zone)
        self.intervals.counts.late += int((starts < start_s).sum())
        self._format = self._format or rows.time_format
        for start in np.unique(starts[starts >= start_s]).tolist():
            cube.add(start, rows.take(starts == start))

    def _look_for_late(self, now_s: float) -> None:
        """Count the rows of files that came to folders after these were read."""
        self._forget_old(now_s)
        starts = {self._folder_of(int(start)) + "/": int(start) for start in self._files}
        for start_s in sorted({starts[folder] for folder in self._folders_with_news([*starts])}):
            rows = self._rows_of(start_s, now_s)
            self.intervals.counts.late += len(rows) if rows is not None else 0

    def _forget_old(self, now_s: float) -> None:
        """Give up the folders before the last day, and the oldest beyond the bound."""
        order = sorted(self._files, key=int)
        names = sum(map(len, self._files.values()))
        for start in order[:-_LATE_FOLDERS]:
            if int(start) >= now_s - _LATE_S and names <= _LATE_FILES:
                return
            names -= len(self._files.pop(start))

    def _folders_with_news(self, folders: list[str]) -> set[str]:
        """Return which of the folders hold files that were not read.

        A few parents that hold nothing but these folders are listed rather than each folder.
        """
        assert self.spec.source is not None
        known = {name for names in self._files.values() for name in names}
        parents = {folder.rstrip("/").rpartition("/")[0] + "/" for folder in folders}
        if 4 * len(parents) <= len(folders) and fixed_part(self.spec.source.template) not in parents:
            listed = sorted(parents)
        else:
            order = sorted(folders)
            first = self._turn % max(1, len(order))
            listed = [*order[first:], *order[:first]][:_LATE_LISTINGS]
            self._turn = first + len(listed)
        found, wanted = set(), set(folders)
        for prefix in listed:
            for info in self._around.objects.list(prefix):
                if info.uri not in known:
                    here = prefix if prefix in wanted else _child(prefix, info.uri)
                    found |= {here} & wanted
        return found

    def _folder_of(self, start_s: int) -> str:
        assert self.spec.source is not None
        return folder_for(self.spec.source.template, start_s, self.spec.zone).rstrip("/")

    def _rows_of(self, start_s: int, now_s: float) -> Rows | None:
        """Return the rows of the folder's files that were not read before; None = nothing usable."""
        known = self._files.setdefault(str(start_s), [])
        news = self._news.setdefault(str(start_s), [])
        assert self.spec.source is not None
        folder = self._folder_of(start_s)
        sources = folder_sources(folder, self._around.objects, without=frozenset(known))
        if not sources:
            return None
        known.extend(source.name for source in sources)
        news.extend(source.name for source in sources)
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
        if problems.kept:
            self.intervals.counts.refused.update(problems.by_reason)
            lines = "\n".join(str(problem.to_json()) for problem in problems.kept)
            place = f"{error_place(self.name)}{utc(start_s):%Y%m%dT%H%M%S}-{len(known):06d}.jsonl"
            self._around.objects.put(place, lines.encode(), create_only=True)
            self._around.journal.write(
                "detector",
                self.name,
                "files refused in part" if len(problems) else "files read in spite of flaws",
                folder=folder,
                reasons=dict(problems.by_reason + problems.notes),
            )
        return rows


def _child(parent: str, uri: str) -> str:
    """Return the folder directly below `parent` that holds an object.

    >>> _child("s3://air/20220324/", "s3://air/20220324/2330/a.json")
    's3://air/20220324/2330/'
    """
    return parent + uri.removeprefix(parent).split("/")[0] + "/"
