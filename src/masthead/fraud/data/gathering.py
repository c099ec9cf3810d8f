"""Tables of one data set to columns: joined, coded, without repetitions, in the order of time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from masthead.base.clock import DAY_US
from masthead.base.errors import InvalidInput, shown
from masthead.fraud.data.columns import Events, Source, composite_key, narrow
from masthead.fraud.data.schema import Schema
from masthead.fraud.data.tables import Frame, Problems, numbers_of, texts_of
from masthead.fraud.data.times import times_of
from masthead.fraud.data.values import key_text, verdict_of

__all__ = ["gather"]

Codes = tuple[NDArray[np.int32], list[str]]


def gather(schema: Schema, events: Sequence[Frame], sides: Sequence[Frame], problems: Problems) -> Events:
    """Return the transactions of event files, with what files of the same ids say of them."""
    bases = [_Base(schema, frame, problems) for frame in events]
    return _Data(schema, bases, _join(schema, sides, problems), problems).events()


class _Base:
    """The rows of one event file whose id and time can be used."""

    def __init__(self, schema: Schema, frame: Frame, problems: Problems) -> None:
        self.frame = frame
        ids = _ids(frame, schema.id)
        ts, wrong = times_of(schema, frame.columns[schema.time.column])
        usable = np.array([one is not None for one in ids], bool)
        for place in np.flatnonzero(~usable).tolist():
            problems.add(frame.rows[place], frame.path.name, schema.id, "no id")
        for place, reason in wrong:
            usable[place] = False
            problems.add(frame.rows[place], frame.path.name, schema.time.column, reason)
        self.kept = np.flatnonzero(usable)
        self.ids = [ids[place] for place in self.kept.tolist()]
        self.ts = ts[self.kept]
        self.rows = frame.rows[self.kept]


def _ids(frame: Frame, name: str) -> list[Any]:
    return [key_text(value) for value in frame.columns[name].to_pylist()]


@dataclass(frozen=True, slots=True)
class _Sides:
    """The files that are joined: for each its columns, and id -> row."""

    frames: list[tuple[Frame, dict[str, int]]]


def _join(schema: Schema, frames: Sequence[Frame], problems: Problems) -> _Sides:
    found = []
    for frame in frames:
        places: dict[str, int] = {}
        again: list[tuple[int, int]] = []
        for place, identity in enumerate(_ids(frame, schema.id)):
            if identity is None:
                problems.add(frame.rows[place], frame.path.name, schema.id, "no id")
            elif places.setdefault(identity, place) != place:
                again.append((places[identity], place))
        others = [column for name, column in frame.columns.items() if name != schema.id]
        for first, place in again:
            if any(column[first].as_py() != column[place].as_py() for column in others):
                problems.add(frame.rows[place], frame.path.name, schema.id, "id repeated with other content")
        found.append((frame, places))
    return _Sides(found)


class _Data:
    """All files of one data set: columns by name, over the rows of all event files."""

    def __init__(self, schema: Schema, bases: list[_Base], sides: _Sides, problems: Problems) -> None:
        self.schema, self.bases, self.sides, self.problems = schema, bases, sides, problems
        self.ids = [identity for base in bases for identity in base.ids]
        self.ts = np.concatenate([base.ts for base in bases]) if bases else np.zeros(0, np.int64)
        self.joined = [
            np.array([places.get(identity, -1) for identity in self.ids], np.int64)
            for _, places in sides.frames
        ]
        self.there = {name for base in bases for name in base.frame.columns}
        self.there |= {name for frame, _ in sides.frames for name in frame.columns}
        self._texts: dict[str, Codes] = {}

    def events(self) -> Events:
        """Return the whole, without repetitions, in the order of time."""
        schema = self.schema
        columns = [self.relation(relation.columns) for relation in schema.relations]
        categories = [self.texts(name) for name in schema.categoricals]
        numerics = np.empty((len(self.ids), len(schema.numerics)), np.float32)
        for place, name in enumerate(schema.numerics):
            numerics[:, place] = narrow(self.numbers(name))
        amount = np.full(len(self.ids), np.nan) if schema.amount is None else self.numbers(schema.amount)
        whole = Events(
            ids=self.ids,
            ts=self.ts,
            amount=amount,
            codes=_stacked(columns, len(self.ids)),
            vocabularies=[values for _, values in columns],
            numerics=numerics,
            category_codes=_stacked(categories, len(self.ids)),
            category_values=[values for _, values in categories],
            raw_ids=self.raw(schema.id),
            raw_times=self.raw(schema.time.column),
            inline_label=self.labels(),
            absent=tuple(name for name in schema.columns() if name not in self.there),
            problems=self.problems.table(),
            source=self.source(),
        )
        order = np.argsort(self.ts, kind="stable")
        once, copies = self.once(whole)
        found = whole.take(order if once is None else order[once[order]])
        return found if once is None else _amended(found, self.problems, copies)

    def source(self) -> Source:
        """Return where the rows stand, repetitions among them."""
        files = [np.full(len(base.rows), place) for place, base in enumerate(self.bases)]
        rows = [base.rows for base in self.bases]
        return Source(
            tuple(base.frame.path.name for base in self.bases),
            np.column_stack([np.concatenate(files), np.concatenate(rows)]).astype(np.int64),
            sum(len(base.frame) + base.frame.torn for base in self.bases),
        )

    def texts(self, name: str) -> Codes:
        """Return the keys of a column; of a derived one, as `parse_record` makes them."""
        if name not in self._texts:
            self._texts[name] = self._derived(name) if name in self.schema.derive else self._plain(name)
        return self._texts[name]

    def _derived(self, name: str) -> Codes:
        derived = self.schema.derive[name]
        if derived.op == "day_minus":
            distinct, places = np.unique(self.numbers(name), return_inverse=True)
            return _recode(places, [key_text(value) for value in distinct.tolist()])
        codes, values = self.texts(derived.column)
        return _recode(codes, [value.lower() for value in values])

    def _plain(self, name: str) -> Codes:
        return self._gathered(name, lambda column: texts_of(column, self.schema.missing))

    def _gathered(self, name: str, coded: Callable[[pa.ChunkedArray], Codes]) -> Codes:
        vocabulary: dict[str, int] = {}

        def shared(column: pa.ChunkedArray) -> NDArray[np.int32]:
            codes, values = coded(column)
            places = [vocabulary.setdefault(value, len(vocabulary)) for value in values]
            return np.array([*places, -1], np.int32)[codes]

        found = self._collected(name, shared, np.int32(-1), lambda codes: codes < 0)
        return found, list(vocabulary)

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return the numbers of a column; what is none is missing, and a problem."""
        derived = self.schema.derive.get(name)
        column = name if derived is None else derived.column
        every = [base.frame for base in self.bases] + [frame for frame, _ in self.sides.frames]
        frames = (frame for frame in every if column in frame.columns)  # in the order of _collected

        def numbered(values: pa.ChunkedArray) -> NDArray[np.float64]:
            frame = next(frames)
            found, wrong = numbers_of(values, self.schema.missing)
            for place, value in wrong:
                self.problems.add(
                    frame.rows[place], frame.path.name, column, f"no number: {shown(value, 40)}"
                )
            return found

        found: NDArray[np.float64] = self._collected(column, numbered, np.float64(np.nan), np.isnan)
        return (
            np.asarray(self.ts // DAY_US - found)
            if derived is not None and derived.op == "day_minus"
            else found
        )

    def labels(self) -> NDArray[np.int8]:
        """Return what the files say of their own rows."""
        name = self.schema.label_column
        if name is None:
            return np.full(len(self.ids), -1, np.int8)
        codes, values = self._gathered(name, lambda column: texts_of(column, ()))
        said = np.full(len(values) + 1, -1, np.int8)
        for place, value in enumerate(values):
            try:
                said[place] = verdict_of(value)
            except InvalidInput as error:
                for row in np.flatnonzero(codes == place).tolist():
                    file, number = self.place(row)
                    self.problems.add(number, file, name, error.message.partition(": ")[2])
        return said[codes]

    def _collected(
        self,
        name: str,
        made: Callable[[pa.ChunkedArray], Any],
        nothing: Any,
        is_missing: Callable[[Any], Any],
    ) -> Any:
        """Return a column over all rows: of the event files, and where they say nothing, of the joined ones."""
        parts = []
        for base in self.bases:
            column = base.frame.columns.get(name)
            parts.append(np.full(len(base.kept), nothing) if column is None else made(column)[base.kept])
        found = np.concatenate(parts)
        for (frame, _), places in zip(self.sides.frames, self.joined, strict=True):
            if name in frame.columns and name != self.schema.id:
                there = made(frame.columns[name])
                rows = np.flatnonzero(is_missing(found) & (places >= 0))
                found[rows] = there[places[rows]]
        return found

    def relation(self, columns: Sequence[str]) -> Codes:
        """Return the keys of a relation's entities."""
        parts = [self.texts(name) for name in columns]
        codes, values = parts[0]
        if len(parts) == 1:
            return codes, values
        whole = codes.astype(np.int64)
        rows: list[tuple[str, ...]] = [(value,) for value in values]
        for further, others in parts[1:]:
            pairs = np.where((whole < 0) | (further < 0), -1, whole * max(len(others), 1) + further)
            distinct, places = np.unique(pairs, return_inverse=True)
            known = [pair for pair in distinct.tolist() if pair >= 0]
            rows = [(*rows[pair // len(others)], others[pair % len(others)]) for pair in known]
            whole = places - (len(distinct) - len(known))
        return whole.astype(np.int32), [composite_key(row) or "" for row in rows]

    def place(self, row: int) -> tuple[str, int]:
        """Return (file, row in it) of a row of the whole."""
        for base in self.bases:
            if row < len(base.rows):
                return base.frame.path.name, int(base.rows[row])
            row -= len(base.rows)
        raise AssertionError(row)

    def raw(self, name: str) -> pa.Array:
        """Return a column as it is in the data; whole numbers of a CSV file are numbers."""
        parts = [base.frame.columns[name].take(pa.array(base.kept)) for base in self.bases]
        parts = [
            part.cast(part.type.value_type) if pa.types.is_dictionary(part.type) else part for part in parts
        ]
        if len({part.type for part in parts}) > 1:
            parts = [part.cast(pa.string()) for part in parts]
        found = pa.chunked_array(
            [chunk for part in parts for chunk in part.chunks], parts[0].type
        ).combine_chunks()
        found = found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
        csv = any(not base.frame.path.name.lower().endswith(".parquet") for base in self.bases)
        return _numbers_if_all_are(found) if csv and pa.types.is_string(found.type) else found

    def once(self, whole: Events) -> tuple[NDArray[np.bool_] | None, int]:
        """Return which rows stay where ids repeat, the first of each, None = no id does; and how many are copies."""
        if len(set(whole.ids)) == len(whole.ids):
            return None, 0
        first: dict[str, int] = {}
        copies = 0
        stays = np.ones(len(whole), bool)
        for row, identity in enumerate(whole.ids):
            earlier = first.setdefault(identity, row)
            if earlier != row:
                stays[row] = False
                if _content(whole, row) != _content(whole, earlier):
                    file, number = self.place(row)
                    self.problems.add(
                        number, file, self.schema.id, f"id repeated with other content: {shown(identity, 40)}"
                    )
                else:
                    copies += 1
        return stays, copies


def _amended(events: Events, problems: Problems, copies: int) -> Events:
    assert events.source is not None
    return replace(events, problems=problems.table(), source=replace(events.source, copies=copies))


def _content(events: Events, row: int) -> tuple[Any, ...]:
    arrays = (
        events.ts,
        events.amount,
        events.codes,
        events.numerics,
        events.category_codes,
        events.inline_label,
    )
    return tuple(one[row].tobytes() for one in arrays)


def _stacked(columns: list[Codes], rows: int) -> NDArray[np.int32]:
    found = np.empty((rows, len(columns)), np.int32)
    for place, (codes, _) in enumerate(columns):
        found[:, place] = codes
    return found


def _recode(places: NDArray[Any], texts: Sequence[str | None]) -> Codes:
    """Return codes over distinct texts, from places in `texts` in which some may be equal or None."""
    values: dict[str, int] = {}
    codes = [-1 if text is None else values.setdefault(text, len(values)) for text in texts]
    return np.array([*codes, -1], np.int32)[places], list(values)


def _numbers_if_all_are(texts: pa.Array) -> pa.Array:
    """Return whole numbers where every text is the usual spelling of one, else the texts."""
    usual = pc.all(pc.match_substring_regex(texts, r"^(0|-?[1-9][0-9]{0,17})$")).as_py()
    return texts.cast(pa.int64()) if usual else texts
