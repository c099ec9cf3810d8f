"""Files of transactions and of labels to columns; the one place from which the room reads its data.

Every row that cannot be used is kept apart with its reason, and none other is lost.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from masthead.base.errors import InvalidInput, nearest, renamed, shown
from masthead.fraud.data.columns import Event, Events, Labels, composite_key
from masthead.fraud.data.gathering import gather
from masthead.fraud.data.messages import parse_record
from masthead.fraud.data.schema import Schema
from masthead.fraud.data.tables import (
    Frame,
    Problems,
    find_files,
    match,
    read_frame,
    read_names,
    require_commas,
    require_usable,
)
from masthead.fraud.data.values import key_text, parse_time, verdict_of

__all__ = [
    "Event",
    "Events",
    "Labels",
    "composite_key",
    "parse_record",
    "parse_time",
    "read_events",
    "read_labels",
]

_SIMILAR = 0.5  # from this likeness on a column may be a misspelling of another


def read_events(schema: Schema, paths: Sequence[Path]) -> Events:
    """Return the transactions of files and folders; files without the time are joined to them by the id.

    Raises:
        InvalidInput: No usable file, the id or the time is nowhere, or no other column of the schema is.
    """
    problems = Problems()
    events, sides = _frames(schema, [Path(path) for path in paths], problems)
    return gather(schema, events, sides, problems)


def read_labels(schema: Schema, events: Events | None, path: Path | None) -> Labels:
    """Return the labels of a file or a folder, or those in the events, known `label.delay` after the time.

    Args:
        events: None: whatever transactions the labels of the file are about.

    Raises:
        InvalidInput: The file lacks the id, the value or the time of arrival.
    """
    if path is not None:
        try:
            return _labels_of(schema, events, Path(path))
        except InvalidInput as error:
            raise renamed(error, {"data": "labels"}) from error
    assert events is not None
    rows = np.flatnonzero(events.inline_label >= 0)  # arrival keeps the order of time
    return Labels(
        rows=rows,
        ids=[events.ids[row] for row in rows.tolist()],
        value=events.inline_label[rows],
        arrived_at=events.ts[rows] + schema.label_delay_us,
    )


def _labels_of(schema: Schema, events: Events | None, path: Path) -> Labels:
    """Return the labels of `path`, in the order of arrival."""
    problems = Problems()
    known = {} if events is None else {identity: place for place, identity in enumerate(events.ids)}
    found: list[tuple[int, int, str, int]] = []
    for file, _ in find_files([path]):
        value = _value_column(schema, file)
        wanted = {schema.id, value, "arrived_at"}
        frame = read_frame(file, wanted, (), problems)
        for name in sorted(wanted - set(frame.columns)):
            require_commas(file, frame.names)
            raise InvalidInput(
                f"{name}: expected this column in {shown(str(file))}, got {', '.join(frame.names)}"
            )
        ids, times, values = (_each(frame, name) for name in (schema.id, "arrived_at", value))
        for row, identity, given, said in zip(frame.rows.tolist(), ids, times, values, strict=True):
            try:
                text, verdict = key_text(identity), verdict_of(said)
                if text is None or verdict < 0:
                    reason = "no id" if text is None else "no value"
                    problems.add(row, file.name, schema.id if text is None else value, reason)
                    continue
                found.append((parse_time(schema, given, field="arrived_at"), len(found), text, verdict))
            except InvalidInput as error:
                column = "arrived_at" if error.field == "arrived_at" else value
                problems.add(row, file.name, column, error.message.partition(": ")[2])
    found.sort()
    ids = [one[2] for one in found]
    return Labels(
        rows=np.array([known.get(identity, -1) for identity in ids], np.int64),
        ids=ids,
        value=np.array([one[3] for one in found], np.int8),
        arrived_at=np.array([one[0] for one in found], np.int64),
        problems=problems.table(),
    )


def _value_column(schema: Schema, file: Path) -> str:
    names = read_names(file)
    if "value" not in names and schema.label_column is not None and schema.label_column in names:
        return schema.label_column
    return "value"


def _each(frame: Frame, name: str) -> list[Any]:
    return list(frame.columns[name].to_pylist())


def sort_files(schema: Schema, paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return the files with id and time, and those with the id alone that have columns to add.

    Raises:
        InvalidInput: As for `read_events`.
    """
    wanted = schema.columns()
    events: list[Path] = []
    sides: list[Path] = []
    there: set[str] = set()
    headers: dict[str, tuple[str, ...]] = {}
    for path, named in find_files(paths):
        names = read_names(path)
        headers[path.name] = names
        columns = match(names, wanted)
        found = set(columns)
        if schema.id not in found:
            if named:
                raise _absent(schema, "id", schema.id, {path.name: names})
            continue  # a folder may hold other tables as well
        require_usable(path, columns.values())
        is_event = schema.time.column in found
        extra = found - {schema.id, schema.label_column}
        if is_event or (extra and (named or not _is_label_file(schema, names))):
            (events if is_event else sides).append(path)
            there |= found
    if not events:
        id_is_there = any(schema.id in match(names, [schema.id]) for names in headers.values())
        key, column = ("time", schema.time.column) if id_is_there else ("id", schema.id)
        raise _absent(schema, key, column, headers)
    _refuse_barren(schema, there, headers)
    return events, sides


def _frames(schema: Schema, paths: Sequence[Path], problems: Problems) -> tuple[list[Frame], list[Frame]]:
    """Return the wanted columns of all files; those of numbers alone as numbers."""
    texts = {schema.id, schema.time.column, schema.label_column, *schema.categoricals}
    texts |= {part for relation in schema.relations for part in relation.columns}
    days = {one.column for one in schema.derive.values() if one.op == "day_minus"}
    texts |= {one.column for one in schema.derive.values() if one.op == "lower"}
    named_numbers = {*schema.numerics, schema.amount, *days}
    numeric = {one for one in named_numbers - texts if one}

    def read(path: Path) -> Frame:
        return read_frame(path, schema.columns(), numeric, problems, schema.missing)

    events, sides = sort_files(schema, paths)
    return [read(path) for path in events], [read(path) for path in sides]


def _is_label_file(schema: Schema, names: Sequence[str]) -> bool:
    return "arrived_at" in names and ("value" in names or schema.label_column in names)


def _absent(schema: Schema, key: str, column: str, headers: dict[str, tuple[str, ...]]) -> InvalidInput:
    for file, header in headers.items():
        require_commas(Path(file), header)
    # What the schema knows under another key is no misspelling of this one.
    names = [name for one in headers.values() for name in one if name not in schema.columns()]
    files = "; ".join(f"{file} has {shown(', '.join(one), 80)}" for file, one in list(headers.items())[:4])
    similar = nearest(column, names, likeness=_SIMILAR)
    near = f" (near: {similar})" if similar else ""
    return InvalidInput(
        f"transaction.{key}: expected the column {column!r} ({schema.line(f'transaction.{key}')}), got none of it: {files}{near}"
    )


def _refuse_barren(schema: Schema, there: set[str], headers: dict[str, tuple[str, ...]]) -> None:
    columns = {part for relation in schema.relations for part in relation.columns} | set(schema.numerics)
    raw = {schema.derive[one].column if one in schema.derive else one for one in columns}
    if not raw & there:
        some = ", ".join(sorted(raw)[:8])
        raise InvalidInput(
            f"entities: expected at least one column of a relation or of numerics ({some}), got "
            f"{shown(', '.join(next(iter(headers.values()))))}"
        )
