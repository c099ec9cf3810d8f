"""A fraud model: learned from tables, kept as a folder, put to work on a stream."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from masthead.base.clock import FOREVER_US, Clock, SystemClock
from masthead.base.errors import InvalidInput, shown
from masthead.fraud.data.columns import Events, Labels
from masthead.fraud.data.events import read_events, read_labels
from masthead.fraud.data.moments import told
from masthead.fraud.data.schema import Schema
from masthead.fraud.data.values import parse_time
from masthead.fraud.scoring.engines import Engine, engine_of
from masthead.fraud.scoring.evaluation import Evaluation, evaluate
from masthead.fraud.scoring.features import Layout
from masthead.fraud.scoring.forest import read_arrays
from masthead.fraud.scoring.scorer import CalibratedScorer, Scorer
from masthead.fraud.scoring.state import GraphState
from masthead.fraud.scoring.stream import Stream
from masthead.fraud.scoring.thresholds import Costs, Thresholds
from masthead.fraud.scoring.training import Lesson, Trained, train
from masthead.learn.calibration import Calibration
from masthead.learn.cards import read_folder, require_place, write_folder

__all__ = ["FraudModel", "Table"]

Paths = str | Path | Sequence[str | Path]


class Store(Protocol):
    """A durable store that can put a model to work."""

    def stream(self, model: "FraudModel", *, reasons: bool = True) -> Any:
        """Return what scores and labels as `Stream` does."""


@dataclass(frozen=True, slots=True)
class Table:
    """Transactions and what was said of them. `from_file`: the labels do not stand in the data."""

    events: Events
    labels: Labels
    from_file: bool

    @staticmethod
    def read(
        schema: Schema, data: "Paths | Events | Table", labels: "str | Path | Labels | None" = None
    ) -> "Table":
        """Return the table of files, or of what has been read already.

        Raises:
            InvalidInput: As `read_events` and `read_labels`.
        """
        if isinstance(data, Table):
            return data
        if not isinstance(data, Events):
            data = read_events(schema, _paths(data))
        if isinstance(labels, Labels):
            return Table(data, labels, True)
        if labels is not None and not isinstance(labels, str | Path):
            raise InvalidInput(
                f"labels: expected the path of a file, or Labels (`read_labels`), got {type(labels).__name__}"
            )
        path = None if labels is None else Path(labels)
        return Table(data, read_labels(schema, data, path), path is not None)


class FraudModel:
    """A scorer with its columns, probabilities and cuts.

    Attributes:
        id: `fraud-` and twelve digits of what it says; equal models have equal ones.
        schema, layout: Of the data, and of the columns that it sees.
        card: All that is told of it.
        thresholds: Where to review and to block.
        scorer: What answers for one vector. engine: The same before calibration.
        labels_known_at: (rows,) int64, sorted: when the outcome of each training row was known.
    """

    def __init__(
        self,
        *,
        schema: Schema,
        layout: Layout,
        engine: Engine,
        calibration: Calibration,
        card: Mapping[str, Any],
        labels_known_at: NDArray[np.int64],
    ) -> None:
        self.id = str(card["id"])
        self.schema = schema
        self.layout = layout
        self.card = dict(card)
        self.thresholds = Thresholds.from_json(card["thresholds"])
        self.scorer: Scorer = CalibratedScorer(engine, calibration)
        self.engine = engine
        self.labels_known_at = labels_known_at

    @property
    def columns(self) -> list[str]:
        """Return the names of the columns in order."""
        return self.layout.names

    @staticmethod
    def train(
        schema: Schema | str | Path,
        data: Paths | Events | Table,
        labels: str | Path | Labels | None = None,
        *,
        train_from: object = None,
        train_until: object = None,
        labels_until: object = None,
        scorer: str = "lightgbm",
        embeddings: bool = False,
        seed: int = 0,
        costs: Costs | None = None,
        threads: int = 0,
        parameters: Mapping[str, float] | None = None,
        clock: Clock | None = None,
        out: str | Path | None = None,
    ) -> "FraudModel":
        """Return the model that these transactions and labels teach; the last step of `training`.

        Raises:
            InvalidInput: Nothing in the window may teach, a single outcome, or data that the schema does not fit.
        """
        steps = FraudModel.training(
            schema,
            data,
            labels,
            train_from=train_from,
            train_until=train_until,
            labels_until=labels_until,
            scorer=scorer,
            embeddings=embeddings,
            seed=seed,
            costs=costs,
            threads=threads,
            parameters=parameters,
            clock=clock,
            out=out,
        )
        *_, (model, _, _) = steps
        assert model is not None  # the last step has it
        return model

    @staticmethod
    def training(
        schema: Schema | str | Path,
        data: Paths | Events | Table,
        labels: str | Path | Labels | None = None,
        *,
        train_from: object = None,
        train_until: object = None,
        labels_until: object = None,
        scorer: str = "lightgbm",
        embeddings: bool = False,
        seed: int = 0,
        costs: Costs | None = None,
        threads: int = 0,
        parameters: Mapping[str, float] | None = None,
        clock: Clock | None = None,
        out: str | Path | None = None,
    ) -> Iterator[tuple["FraudModel | None", float | None, str]]:
        """Yield (None, share done, what goes on) and at the end the model.

        Args:
            data: Files or folders, or what has been read of them.
            labels: A file; None: labels stand in the data and arrive `label.delay` after the transaction.
            train_from, train_until: Times of transactions, half open, as `parse_time` reads them. None: all.
            labels_until: Labels that arrive later teach nothing. None: `train_until` and the delay (labels in the
                data) or the maturity (labels of a file).
            scorer: lightgbm or gnn, the graph network without ids.
            embeddings: Try the network's state as columns of the trees; they stay if validation gains by them.
            seed: Same data and seed, same model.
            costs: What decides the thresholds.
            threads: For the fit, 0 = one per core.
            parameters: Of LightGBM, in place of ours.
            clock: Tells when the model was made.
            out: Folder to save it in.
        """
        known = schema if isinstance(schema, Schema) else Schema.read(schema)
        if out is not None:
            require_place(Path(out))
        yield None, None, "reading"
        table = Table.read(known, data, labels)
        if not len(table.events):
            raise InvalidInput("data: expected at least one usable transaction, got none")
        _require_labels(known, table)
        window = _window(known, table, train_from, train_until)
        wait = known.maturity_us if table.from_file else known.label_delay_us
        lesson = Lesson(
            schema=known,
            events=table.events,
            labels=table.labels,
            from_file=table.from_file,
            window=window,
            labels_until=_moment(known, labels_until, window[1] + wait, "labels_until"),
            seed=seed,
            costs=costs or Costs(),
            threads=threads,
            parameters=parameters or {},
            scorer=scorer,
            embeddings=embeddings,
        )
        for trained, share, text in train(lesson):
            if trained is None:
                yield None, share, text
        assert trained is not None  # the last step has it
        model = FraudModel._made(lesson, trained, clock or SystemClock())
        if out is not None:
            model.save(out)
        yield model, 1.0, "done"

    @staticmethod
    def _made(lesson: Lesson, trained: Trained, clock: Clock) -> "FraudModel":
        """Return what was learned as a model, with its card."""
        card = {
            **trained.card,
            "kind": "fraud",
            "created": clock.now().isoformat(timespec="seconds"),
            "schema": {"name": lesson.schema.name, "digest": lesson.schema.digest()},
            "versions": {name: version(name) for name in _libraries(lesson)},
            "layout": trained.layout.to_json(),
            "calibration": {"scores": trained.calibration.scores, "odds": trained.calibration.odds},
            "thresholds": trained.thresholds.to_json(),
        }
        return FraudModel(
            schema=lesson.schema,
            layout=trained.layout,
            engine=trained.engine,
            calibration=trained.calibration,
            card={**card, "id": _identity(card, trained.engine.files())},
            labels_known_at=trained.labels_known_at,
        )

    def save(self, path: str | Path) -> None:
        """Write the model's folder: `model.txt` and `forest.npz` of trees, `network.npz` of a network, `schema.toml`,
        `card.json`. Nothing in it is code.

        Raises:
            InvalidInput: Something that is no model stands there.
        """
        files = {
            **self.engine.files(labels_known_at=self.labels_known_at),
            "schema.toml": self.schema.to_toml().encode(),
        }
        write_folder(Path(path), files, self.card)

    @staticmethod
    def load(path: str | Path) -> "FraudModel":
        """Return the model of a folder.

        Raises:
            NotFound: There is none.
            InvalidInput: A file is missing or was changed, or it is another kind of model.
        """
        _refuse_network(Path(path))
        card, files = read_folder(Path(path))
        if card.get("kind") != "fraud" or "schema.toml" not in files:
            raise InvalidInput(
                f"model: expected a model of `masthead fraud train`, got {shown(card.get('kind'))}"
            )
        schema = Schema.parse(files["schema.toml"].decode())
        knots = card["calibration"]
        layout = Layout.from_json(card["layout"])
        engine = engine_of(files, layout.width)
        first = "forest.npz" if "forest.npz" in files else "network.npz"
        return FraudModel(
            schema=schema,
            layout=layout,
            engine=engine,
            calibration=Calibration(tuple(knots["scores"]), tuple(knots["odds"])),
            card={name: value for name, value in card.items() if name != "files"},
            labels_known_at=read_arrays(files[first], "labels_known_at", name=first)[0],
        )

    def stream(self, store: Store | None = None, *, reasons: bool = True) -> Any:
        """Return the model at work: in memory, or on a durable store; `score(record)` and `label(...)`.

        Args:
            reasons: Give them with flagged decisions.
        """
        return Stream(self, reasons=reasons) if store is None else store.stream(self, reasons=reasons)

    def features(
        self, data: Paths | Events | Table, labels: str | Path | Labels | None = None
    ) -> tuple[list[str], NDArray[np.float32]]:
        """Return the names of the columns and (rows, columns) float32 in the order of time, by replay.

        Raises:
            InvalidInput: The data have none of the model's columns.
        """
        table = self._table(data, labels)
        state = GraphState(self.layout)
        return self.columns, state.replay(table.events, table.labels, rows=np.arange(len(table.events)))

    def evaluate(
        self,
        data: Paths | Events | Table,
        labels: str | Path | Labels | None = None,
        *,
        test_from: object,
        test_until: object,
    ) -> Evaluation:
        """Return scores and metrics of [test_from, test_until), streamed; the last step of `evaluating`.

        Raises:
            InvalidInput: No transaction lies in the window, or the data have none of the model's columns.
        """
        *_, (found, _, _) = self.evaluating(data, labels, test_from=test_from, test_until=test_until)
        assert found is not None  # the last step has it
        return found

    def evaluating(
        self,
        data: Paths | Events | Table,
        labels: str | Path | Labels | None = None,
        *,
        test_from: object,
        test_until: object,
    ) -> Iterator[tuple[Evaluation | None, float | None, str]]:
        """Yield (None, share done, what goes on) and at the end the evaluation."""
        yield None, None, "reading"
        table = self._table(data, labels)
        window = (
            _moment(self.schema, test_from, -FOREVER_US, "test_from"),
            _moment(self.schema, test_until, FOREVER_US, "test_until"),
        )
        yield from evaluate(self, table.events, table.labels, window=window, from_file=table.from_file)

    def contributions(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return what each column adds to the raw score, and the mean last: exact Shapley values of trees, integrated
        gradients of the network.

        Args:
            x: (rows, columns) float32.

        Returns:
            (rows, columns + 1); each row's sum is its raw score.
        """
        return self.engine.contributions(np.atleast_2d(np.asarray(x, np.float32)))

    def warm_up(self) -> None:
        """Compile all that the serving path calls, or load it from the cache: seconds, before readiness."""
        GraphState(self.layout).compile()
        self.scorer.score(np.zeros(self.layout.width, np.float32))

    def _table(self, data: Paths | Events | Table, labels: str | Path | Labels | None) -> Table:
        """Return the table of data that have at least one of the model's columns."""
        table = Table.read(self.schema, data, labels)
        relations = {relation.name: relation.columns for relation in self.schema.relations}
        wanted = {column for name in self.layout.present for column in relations[name]}
        wanted |= {*self.layout.numerics, *self.layout.categoricals}
        raw = {self.schema.derive[name].column if name in self.schema.derive else name for name in wanted}
        if raw and raw <= set(table.events.absent):
            raise InvalidInput(
                f"data: expected columns of the schema {shown(self.schema.name)} that {self.id} was trained on "
                f"({', '.join(sorted(raw)[:8])}), got none of them"
            )
        return table


def _moment(schema: Schema, given: object, otherwise: int, field: str) -> int:
    return otherwise if given is None else parse_time(schema, given, field=field)


def _window(schema: Schema, table: Table, train_from: object, train_until: object) -> tuple[int, int]:
    """Return the window of the transactions that teach, half open; all of them where nothing is said."""
    first = _moment(schema, train_from, -FOREVER_US, "train_from")
    until = _moment(schema, train_until, int(table.events.ts[-1]) + 1, "train_until")
    if train_until is not None and first >= until:
        raise InvalidInput(
            f"train_from: expected a time before the end of the window, {told(until)}, got {told(first)}; the window is "
            "reversed or empty"
        )
    return first, until


def _require_labels(schema: Schema, table: Table) -> None:
    """Return if the data have labels in them, or those of a file were read.

    Raises:
        InvalidInput: Neither.
    """
    column = schema.label_column
    if not table.from_file and (column is None or column in table.events.absent):
        where = (
            "the column that the schema's label.column names" if column is None else f"the column {column}"
        )
        raise InvalidInput(
            f"labels: expected --labels FILE or {where} in the data, got neither; give one of them"
        )


def _libraries(lesson: Lesson) -> tuple[str, ...]:
    learner = () if lesson.scorer == "gnn" else ("lightgbm",)
    return (
        "masthead",
        "numpy",
        *learner,
        *(("torch",) if lesson.scorer == "gnn" or lesson.embeddings else ()),
    )


def _paths(data: Any) -> list[Path]:
    """Return the paths that are given; a data frame would give the names of its columns.

    Raises:
        InvalidInput: They are none.
    """
    given = [data] if isinstance(data, str | Path) else data
    paths = list(given) if isinstance(given, Sequence | Iterator) else []
    if not isinstance(given, Sequence | Iterator) or not all(isinstance(one, str | Path) for one in paths):
        raise InvalidInput(
            "data: expected paths of CSV or Parquet files or of folders, or Events (`read_events`), "
            f"got {type(data).__name__}; a data frame can be written to a Parquet file"
        )
    return [Path(one) for one in paths]


def _refuse_network(folder: Path) -> None:
    """Return if a folder does not hold a graph network, whose card is another.

    Raises:
        InvalidInput: It does.
    """
    try:
        card = orjson.loads((folder / "card.json").read_bytes())
    except (OSError, ValueError):
        return  # who reads all of it says what is wrong
    if isinstance(card, dict) and card.get("kind") == "fraud-graph":
        raise InvalidInput(
            f"model: expected a model of `masthead fraud train`, {shown(str(folder))} is a graph network; it scores by "
            "`masthead fraud graph predict`, and what it is worth is told by `masthead fraud graph train`"
        )


def _identity(card: Mapping[str, Any], files: Mapping[str, bytes]) -> str:
    """Return the id: of everything but when it was made."""
    content = {name: value for name, value in card.items() if name != "created"}
    made = hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY))
    for name in sorted(files):
        made.update(files[name])
    return f"fraud-{made.hexdigest()[:12]}"
