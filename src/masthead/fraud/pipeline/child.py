"""Steps of the pipeline that need a processor for long, each in a process of its own: `python -m ... STEP FOLDER INTO`.

A server that scores transactions is not slowed down by them, their memory goes back with the process, and a step can be
ended whatever it does. What it found stands in `found.json`. Lines on standard output that begin with a record separator
are progress or an error as JSON; what else is printed is the step's log.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from masthead.base.errors import MastheadError, renamed
from masthead.fraud.data.schema import Schema
from masthead.fraud.pipeline.children import FOUND, MARK
from masthead.fraud.pipeline.config import Config
from masthead.fraud.pipeline.data import catalogue, manifest, require_same
from masthead.fraud.pipeline.runs import RunFolder

__all__ = ["SAMPLE"]

SAMPLE = 1_000
"""So many of the latest transactions go through the endpoint before it is trusted."""

Told = Iterator[tuple[dict[str, Any] | None, float | None, str]]


class Task:
    """What a step is given: the run, what was asked, and where it writes."""

    def __init__(self, run: RunFolder, into: Path) -> None:
        self.run, self.into = run, into
        self.config = Config.from_json(run.config())
        self.schema = Schema.read(run.schema)
        self.data = [Path(one) for one in self.config.data]
        self.labels = Path(self.config.labels) if self.config.labels else None

    def table(self) -> Any:
        """Return transactions and labels, read: of the files, or of what the store held."""
        from masthead.fraud.scoring.model import Table

        if not self.config.live:
            return Table.read(self.schema, list(self.data), self.labels)
        from masthead.fraud.store.live_data import read_live

        events, labels = read_live(self.schema, self.run.path / "ingest")
        return Table(events, labels, True)

    def output(self, step: str) -> dict[str, Any]:
        """Return what an earlier step found."""
        found = self.run.output(step)
        assert found is not None, step
        return found

    def require_same_data(self) -> None:
        """Return if the data are those that were taken in."""
        require_same(self.output("ingest"))


def ingest(task: Task) -> Told:
    """Tell which files there are, to the byte."""
    yield from manifest(task.schema, task.data, task.labels)


def describe(task: Task) -> Told:
    """Tell what the columns hold."""
    if task.config.live:
        from masthead.fraud.store.live_data import describe_live

        yield from describe_live(task.run.path / "ingest")
        return
    task.require_same_data()
    yield from catalogue(task.schema, task.output("ingest")["files"])


def process(task: Task) -> Told:
    """Write the files of the graph."""
    from masthead.fraud.data.etl import Order, extracting

    task.require_same_data()
    config = task.config
    order = Order(
        task.schema,
        tuple(task.data),
        task.into / "graph",
        labels=task.labels,
        engine=config.engine,  # type: ignore[arg-type]  # checked when it was read
        format=config.format,
    )
    for done, share, text in extracting(order):
        yield None if done is None else done.to_json(), share, text


def hyperparameters(task: Task) -> Told:
    """Choose the learner's parameters: those given, and of the others what trials on earlier data found best."""
    from masthead.fraud.scoring.tuning import tuning

    task.require_same_data()
    yield None, 0.0, "reading"
    yield from tuning(
        task.schema,
        task.table(),
        window=(task.config.train_from, task.config.train_until, task.config.labels_until),
        given=task.config.hyperparameters,
        trials=task.config.trials,
        seed=task.config.seed,
    )


def train(task: Task) -> Told:
    """Teach the default scorer."""
    from masthead.fraud.scoring.model import FraudModel

    task.require_same_data()
    config = task.config
    yield None, None, "reading"
    steps = FraudModel.training(
        task.schema,
        task.table(),
        train_from=config.train_from or None,
        train_until=config.train_until or None,
        labels_until=config.labels_until or None,
        seed=config.seed,
        parameters=task.output("hyperparameters")["chosen"],
        out=task.into / "model",
    )
    for model, share, text in steps:
        if model is None:
            yield None, share, text
            continue
        names = ("rows", "positives", "excluded_immature", "validation", "thresholds", "columns_absent")
        yield {"model": model.id, **{name: model.card[name] for name in names}}, share, text


def sample(task: Task) -> Told:
    """Write the latest transactions and what the model says of them, computed as in training: by replay."""
    import numpy as np

    from masthead.fraud.data.events import Labels
    from masthead.fraud.scoring.model import FraudModel

    task.require_same_data()
    yield None, None, "reading"
    model = FraudModel.load(task.run.path / "create-model" / "model")
    table = task.table()
    events, labels = table.events, table.labels
    first = max(len(events) - SAMPLE, 0)
    events = events.take(np.arange(first, first + min(SAMPLE, len(events))))
    inside = labels.rows >= first
    places = np.flatnonzero(inside)
    labels = Labels(
        rows=labels.rows[inside] - first,
        ids=[labels.ids[place] for place in places.tolist()],
        value=labels.value[inside],
        arrived_at=labels.arrived_at[inside],
    )
    yield None, 0.6, "scoring"
    _, x = model.features(events, labels)
    probabilities = [model.scorer.score(row)[1] for row in x]
    told = {
        "events": [_as_json(events.event(place)) for place in range(len(events))],
        "labels": [
            [id, int(value), int(at)]
            for id, value, at in zip(labels.ids, labels.value, labels.arrived_at, strict=True)
        ],
        "probabilities": probabilities,
    }
    (task.into / "sample.json").write_bytes(orjson.dumps(told))
    yield {"rows": len(events), "model": model.id}, 1.0, f"{len(events)} transactions scored by replay"


def _as_json(event: Any) -> list[Any]:
    number = None if event.amount != event.amount else event.amount
    numerics = [None if one != one else one for one in event.numerics.tolist()]
    return [event.id, event.ts, number, list(event.keys), numerics, list(event.categories)]


STEPS: dict[str, Callable[[Task], Told]] = {
    "ingest": ingest,
    "catalogue": describe,
    "process": process,
    "hyperparameters": hyperparameters,
    "train": train,
    "sample": sample,
}


def _tell(**fields: Any) -> None:
    print(MARK + json.dumps(fields), flush=True)


_KEYS = {"train_from": "train.from", "train_until": "train.until", "labels_until": "train.labels_until"}
"""What the pipeline's file calls what a function has."""


def main(arguments: list[str]) -> int:
    """Run one step and return the exit status; an error of ours is told by its name."""
    step, run, into = arguments
    try:
        for found, share, text in STEPS[step](Task(RunFolder(Path(run)), Path(into))):
            _tell(share=share, text=text)
            if found is not None:
                (Path(into) / FOUND).write_bytes(orjson.dumps(found, option=orjson.OPT_SERIALIZE_NUMPY))
    except MastheadError as error:
        _tell(error={"code": error.code, "message": renamed(error, _KEYS).message})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
