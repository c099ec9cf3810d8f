"""What the steps of a detector's long job share: its row, its folder, how it reports and to whom it hands over."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection

from masthead.base.errors import Conflict, InvalidInput, NotFound
from masthead.flows.run import PROGRESS_S, Run
from masthead.metrics import records
from masthead.metrics.live import Surroundings, run_folder
from masthead.metrics.quality import DataQuality
from masthead.metrics.readers import Rows
from masthead.metrics.records import Detector
from masthead.metrics.rows_file import load_rows, save_rows
from masthead.metrics.validating import validate

__all__ = ["HandOver", "Work", "is_awaited"]

_AWAITED = ("activating", "backtesting", "deactivating", "deleting")

_FRESH_S = 60.0  # who asks for a job validates first, and looking costs up to a second


class HandOver(Protocol):
    """Takes a job's result: the row changes, with what `store` writes, in one transaction; readings go on."""

    def __call__(
        self, row: Detector, state: str, quality: Mapping[str, Any], store: Callable[[Connection], None]
    ) -> None: ...


def is_awaited(row: Detector | None, run: str) -> bool:
    """Return whether a detector still waits for the job of a run: it was not deleted, stopped or begun anew."""
    return row is not None and row.run == run and row.state in _AWAITED


class Work:
    """One run of a job. Its steps may be run twice, so each begins by clearing what a try before it left."""

    def __init__(self, run: Run, args: Mapping[str, Any], around: Surroundings, hand_over: HandOver) -> None:
        self.run, self.around, self.name = run, around, str(args["detector"])
        self.hand_over = hand_over
        self._reported = 0.0

    @property
    def run_folder(self) -> Path:
        """Where the run keeps what outlives the job."""
        return run_folder(self.around.folder, self.name, self.run.id)

    @property
    def folder(self) -> Path:
        """Where steps leave files for each other; removed when the job has ended."""
        found = self.run_folder / "job"
        found.mkdir(parents=True, exist_ok=True, mode=0o700)
        return found

    def row(self) -> Detector:
        """Return the detector.

        Raises:
            Conflict: It does not wait for this job any more.
        """
        with self.around.database.read() as connection:
            row = records.find_detector(connection, self.name)
        if row is None or not is_awaited(row, self.run.id):
            raise Conflict(f"detector: {self.name} no longer waits for job {self.run.id}")
        return row

    def is_done(self) -> bool:
        """Return whether the result was handed over: of the last step, only its record was lost in a crash."""
        with self.around.database.read() as connection:
            return records.execution_state(connection, self.run.id) == "finished"

    def validate(self) -> dict[str, Any]:
        """Look at samples of all files, again only if some time has passed since the job was asked for.

        Raises:
            InvalidInput: They cannot be used; the first error with its action.
        """
        row = self.row()
        with self.around.database.read() as connection:
            unseen = records.is_to_be_validated(connection, self.run.id)
        if not unseen and abs((self.around.clock.now() - row.updated).total_seconds()) < _FRESH_S:
            return {"findings": []}
        found = validate(row.spec, self.around.objects)
        if not found.valid and found.quality is not None:  # the job stores no other: it ends here
            self._keep_quality(found.quality)
        found.require_valid()
        return {"findings": [one.message for one in found.findings][:20]}

    def _keep_quality(self, quality: DataQuality) -> None:
        with self.around.database.write() as connection:
            now = self.around.clock.now()
            records.put_quality(self.around.database, connection, self.name, quality.to_json(), now=now)

    def keep_rows(self, name: str, rows: Rows) -> None:
        """Keep rows in a file of the job."""
        save_rows(self.folder / f"{name}.npz", rows)

    def kept_rows(self, name: str, read: Callable[[], Rows]) -> Rows:
        """Return the rows that lie in a file of the job, or else what `read` gives, and keep it there."""
        try:
            return load_rows(self.folder / f"{name}.npz")
        except (NotFound, InvalidInput):  # say, restored from a backup that has it not
            rows = read()
            self.keep_rows(name, rows)
            return rows

    def report(self, done: float, text: str) -> None:
        """Tell how far the step is, 0 to 1; end it here when the job was cancelled or the process ends."""
        self.run.check()
        if done < 1 and time.monotonic() - self._reported < PROGRESS_S:
            return
        self._reported = time.monotonic()
        self.run.progress(round(done, 4), 1, text)
        with self.around.database.write() as connection:
            records.update_execution(connection, self.run.id, done=round(done, 4), text=text)
