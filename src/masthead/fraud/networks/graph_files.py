"""The file contract to a graph: `features.csv`, `tags.csv`, `test.csv` and `relation_<name>_edgelist.csv`.

Each may be a Parquet file or a folder of part files; `read_graph_files` takes files under other names. A header cell
is a node type. One that equals the target id's name, with `_src`, `_dst`, `_1`, `_2` or `.1` behind it or not, means
target nodes: transfers between users are a relation as any other.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput, NotFound, shown
from masthead.fraud.networks.graph import Edges, Graph
from masthead.fraud.networks.graph_tables import Table, epoch_seconds, numbers, read_table, texts

__all__ = ["read_graph", "read_graph_files", "read_ids"]

_SUFFIXES = ("_src", "_dst", "_1", "_2", ".1")
_PREFIXES = ("from_", "to_", "src_", "dst_", "source_", "target_", "sender_", "receiver_")
# Heads of edge lists that name the role of a node and not its type.
_ROLES = (
    *("source", "target", "src", "dst", "from", "to", "sender", "receiver", "payer", "payee", "u", "v"),
    *(f"{head}{end}" for head in ("node", "id", "node_", "id_") for end in "12"),
    *(f"{head}_id" for head in ("from", "to", "src", "dst", "source", "target")),
)
_LABELS = ("label", "tag", "fraud", "is_fraud", "isfraud", "target", "class", "y")
_RELATION = re.compile(r"relation_(.+)_edgelist(\.csv|\.csv\.gz|\.parquet)?")
_SAME = 0.9  # share of a column's values that are target ids from which the column is taken to hold targets
_TRUE = ("1", "1.0", "true", "fraud", "yes")
_FALSE = ("0", "0.0", "false", "legit", "no")


def read_graph(folder: Path) -> Graph:
    """Return the graph of a folder that follows the file contract.

    Raises:
        NotFound: There is no such folder, or no features in it. InvalidInput: A file breaks the contract.
    """
    if not folder.is_dir():
        raise NotFound(f"data: expected an existing folder, got {shown(str(folder))}")
    features = _file(folder, "features")
    if features is None:
        inside = ", ".join(sorted(one.name for one in folder.iterdir())[:8])
        raise NotFound(f"data: expected features.csv or features.parquet, got {shown(inside)}")
    relations: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        match = _RELATION.fullmatch(path.name)
        if match and (match[1] not in relations or path.suffix == ".parquet"):
            relations[match[1]] = path
    return _build(features, relations, _file(folder, "tags"), _file(folder, "test"), strict=True)


def read_graph_files(
    nodes: Path, edges: Sequence[Path], labels: Path | None = None, test: Path | None = None
) -> Graph:
    """Return the graph of files under any names: nodes with features, edge lists, labels, ids that are held out.

    An edge list whose two columns hold node ids under names of their own is taken as one between nodes, and a note
    tells it. A file of labels may be the file of nodes; its column of labels is then no feature.

    Raises:
        NotFound: A file is not there. InvalidInput: One cannot be understood.
    """
    relations: dict[str, Path] = {}
    for path in edges:
        match = _RELATION.fullmatch(path.name)
        name = match[1] if match else path.name.split(".")[0]
        if name in relations:
            raise InvalidInput(f"edges: expected each name once, got {shown(name)} twice")
        relations[name] = path
    return _build(nodes, relations, labels, test, strict=False)


def read_ids(path: Path, *, may_be_empty: bool = False) -> list[str]:
    """Return the ids of a file without header, one a line; of one without a byte none, where it may be empty.

    Raises:
        NotFound: There is no such file. InvalidInput: It cannot be read.
    """
    table = read_table(path, header=False, may_be_empty=may_be_empty)
    return [one for one in texts(table.columns[0]).to_pylist() if one is not None] if table.columns else []


def _file(folder: Path, name: str) -> Path | None:
    """Return the file or folder of a name; Parquet before CSV, because it has the time."""
    for end in (".parquet", ".csv", ".csv.gz", ""):
        if (folder / f"{name}{end}").exists():
            return folder / f"{name}{end}"
    return None


def _build(
    features: Path, relations: dict[str, Path], tags: Path | None, test: Path | None, *, strict: bool
) -> Graph:
    nodes = read_table(features, others=pa.float64())
    target = nodes.names[0]
    notes: list[str] = []
    labelled = _Labels.read(tags, target, strict) if tags is not None else None
    held_out = [] if test is None else read_ids(test, may_be_empty=True)
    if test is not None and not held_out:
        notes.append(f"{test.name}: no ids, so nobody is held out")
    own = texts(nodes.columns[0])
    nodes, own = _once(nodes, own, notes)
    lists = [_EdgeList.read(name, path, target, own, strict, notes) for name, path in relations.items()]
    if labelled is not None:
        _require_known(labelled, target, own, lists, "tags" if strict else "labels", notes)
    _require_touched(own, target, lists, notes)
    ids = _ids(target, own, lists, labelled)
    index = {kind: pa.array(found, pa.string()) for kind, found in ids.items()}
    count = len(ids[target])
    columns, values, times = _features(nodes, labelled.column if labelled else "", count, notes)
    if times is None and labelled is not None:
        times = labelled.times_at(index[target])
    labels = labelled.labels_at(index[target]) if labelled else np.full(count, -1, np.int8)
    _note_copies(nodes.path.name, columns, values, labels, notes)
    for one in lists:
        one.refuse_labels(index[target], target, labels)
    if count > len(own):
        notes.append(f"{count - len(own):,} nodes without a row of features take the mean of each column")
    return Graph(
        target,
        ids,
        values,
        columns,
        tuple(one.edges(index) for one in lists),
        labels,
        _members(index[target], [one for one in held_out if one != target], notes),
        times,
        tuple(notes),
    )


def _once(nodes: Table, own: Any, notes: list[str]) -> tuple[Table, Any]:
    """Return the nodes with an id, each once: a row given twice with the same content is one, with another an error."""
    missing = own.null_count
    if missing:
        notes.append(f"{nodes.path.name}: {missing:,} rows without an id are left out")
    kept = np.flatnonzero(~np.asarray(pc.is_null(own)))
    codes = np.asarray(pc.index_in(own, pc.unique(own)))[kept]
    _, first = np.unique(codes, return_index=True)
    if len(first) < len(kept):
        _require_same(nodes, own, kept, codes)
        notes.append(f"{nodes.path.name}: {len(kept) - len(first):,} rows stand there twice")
    if len(first) == len(own):
        return nodes, own
    rows = pa.array(kept[np.sort(first)])
    columns = [column.take(rows) for column in nodes.columns]
    return Table(nodes.path, nodes.names, columns, nodes.is_parquet), own.take(rows)


def _require_same(nodes: Table, own: Any, kept: NDArray[Any], codes: NDArray[Any]) -> None:
    first: dict[int, int] = {}
    for row, code in zip(kept.tolist(), codes.tolist(), strict=True):
        earlier = first.setdefault(code, row)
        if earlier == row:
            continue
        for name, column in zip(nodes.names[1:], nodes.columns[1:], strict=True):
            one, other = column[earlier].as_py(), column[row].as_py()
            if one != other and not (one != one and other != other):
                raise InvalidInput(
                    f"{nodes.path.name}: expected {own[row].as_py()} once, got it in rows {earlier + 1} and {row + 1} "
                    f"with {shown(name)} {shown(one)} and {shown(other)}"
                )


def _features(
    nodes: Table, label: str, count: int, notes: list[str]
) -> tuple[tuple[str, ...], NDArray[np.float32], NDArray[np.float64] | None]:
    """Return names and values of the features, and the nodes' times when the file tells them."""
    names: list[str] = []
    found: list[NDArray[np.float64]] = []
    times: NDArray[np.float64] | None = None
    for name, column in zip(nodes.names[1:], nodes.columns[1:], strict=True):
        if label and name == label:
            notes.append(f"{nodes.path.name}: column {name} is the label and no feature")
            continue
        if name == "time" and nodes.is_parquet:
            times = epoch_seconds(column)
            continue
        values = numbers(column, name, nodes.path.name, notes)
        if values is None and name == "time":
            times = epoch_seconds(column)
        elif values is None:
            notes.append(f"{nodes.path.name}: column {name} holds texts and is left out")
        else:
            names.append(name)
            found.append(values)
    table = np.full((count, len(names)), np.nan, np.float32)
    for place, values in enumerate(found):
        table[: len(values), place] = values
    if times is not None:
        times = np.concatenate([times, np.full(count - len(times), np.nan)])
    return tuple(names), table, times


def _note_copies(
    file: str, columns: Sequence[str], values: NDArray[Any], labels: NDArray[np.int8], notes: list[str]
) -> None:
    """Note columns that say what is to be found out: measures of such a graph mean nothing."""
    known = (labels >= 0) & ~np.isnan(values).all(1)
    if len(np.unique(labels[known])) < 2:
        return
    for place, name in enumerate(columns):
        if np.array_equal(values[known, place], labels[known]):
            notes.append(
                f"{file}: column {name} equals the labels of every labelled node; if it is the label, leave it out"
            )


def _ids(target: str, own: Any, lists: "list[_EdgeList]", labelled: "_Labels | None") -> dict[str, list[str]]:
    """Return the ids of each type; targets stand in the order of their features, those without behind them."""
    seen: dict[str, list[Any]] = {target: [own]}
    for one in lists:
        seen.setdefault(one.source, []).append(one.sources)
        seen.setdefault(one.target, []).append(one.targets)
    if labelled is not None:
        seen[target].append(labelled.ids)
    return {kind: pc.unique(pa.chunked_array(parts)).to_pylist() for kind, parts in seen.items()}


def _require_known(
    labelled: "_Labels", target: str, own: Any, lists: "list[_EdgeList]", field: str, notes: list[str]
) -> None:
    """Return if labels are about nodes that features or edges know; those about others are noted.

    Raises:
        InvalidInput: None is.
    """
    linked = [ends for one in lists for kind, ends in one.ends() if kind == target]
    known = np.asarray(pc.is_in(labelled.ids, pc.unique(pa.chunked_array([own, *linked], pa.string()))))
    strange = int((~known).sum())
    if strange and strange == len(known):
        raise InvalidInput(
            f"{field}: expected ids of {target} that are nodes, got 0 of {len(known):,} "
            f"(the first label is of {shown(labelled.ids[0].as_py())}, the first node is "
            f"{shown(own[0].as_py() if len(own) else None)}); give labels of the same ids"
        )
    if strange:
        notes.append(f"{field}: {strange:,} of {len(known):,} ids are in no row of features and in no edge")


def _require_touched(known: Any, target: str, lists: "list[_EdgeList]", notes: list[str]) -> None:
    """Return if edges lead to targets that have features; a list whose own do not is noted.

    Raises:
        InvalidInput: No edge at all does.
    """
    touching = []
    for one in lists:
        rows = np.zeros(len(one.sources), bool)
        for kind, ends in one.ends():
            if kind == target:
                rows |= np.asarray(pc.is_in(ends, known))
        touching.append(int(rows.sum()))
        if len(rows) and not touching[-1] and target in (one.source, one.target):
            notes.append(f"relation {one.name}: 0 of {len(rows):,} edges touch a target that has features")
    count = sum(len(one.sources) for one in lists)
    if count and not sum(touching):
        some = lists[0]
        raise InvalidInput(
            f"edges: expected edges that touch targets with features, got 0 of {count:,}; the columns of {some.name} "
            f"are read as {some.source} and {some.target}: one must be called {target} and hold ids of the features, "
            f"of which the first is {shown(known[0].as_py() if len(known) else None)}"
        )


def _members(index: Any, ids: Sequence[str], notes: list[str]) -> NDArray[np.bool_]:
    found = np.zeros(len(index), bool)
    places = pc.index_in(pa.array(ids, pa.string()), index)
    if places.null_count:
        notes.append(f"test: {places.null_count:,} ids are no nodes of this graph")
    found[np.asarray(places.drop_null(), np.int64)] = True
    return found


@dataclass(frozen=True, slots=True)
class _Labels:
    ids: Any
    values: NDArray[np.int8]
    times: NDArray[np.float64] | None
    column: str

    @staticmethod
    def read(path: Path, target: str, strict: bool) -> "_Labels":
        table = read_table(path)
        at = max(table.place(target), 0)
        label = _label_column(table, at, strict)
        ids = texts(table.columns[at])
        values = _label_values(table, label)
        there = np.asarray(pc.is_valid(ids))
        time = table.place("time")
        times = epoch_seconds(table.columns[time]) if time >= 0 else None
        kept = pa.array(np.flatnonzero(there))
        return _Labels(
            ids.take(kept), values[there], None if times is None else times[there], table.names[label]
        )

    def labels_at(self, index: Any) -> NDArray[np.int8]:
        """Return the label of each node, -1 where there is none."""
        found = np.full(len(index), -1, np.int8)
        places = np.asarray(pc.index_in(self.ids, index), np.int64)
        known = self.values >= 0
        found[places[known]] = self.values[known]
        differ = np.flatnonzero(known & (found[places] != self.values))
        if len(differ):
            name = self.ids[int(differ[0])].as_py()
            raise InvalidInput(f"tags: expected one label for {shown(name)}, got both 0 and 1")
        return found

    def times_at(self, index: Any) -> NDArray[np.float64] | None:
        """Return the time of each node, NaN where there is none; None when the file has no times."""
        if self.times is None:
            return None
        found = np.full(len(index), np.nan)
        found[np.asarray(pc.index_in(self.ids, index), np.int64)] = self.times
        return found


def _label_column(table: Table, at: int, strict: bool) -> int:
    others = [place for place in range(len(table.names)) if place != at and table.names[place] != "time"]
    if not others:
        raise InvalidInput(f"{table.path.name}: expected a column of ids and one of labels, got one column")
    if strict or len(others) == 1:
        return others[0]
    named = [place for place in others if table.names[place].lower() in _LABELS]
    if len(named) != 1:
        raise InvalidInput(
            f"labels: expected a file with ids and labels, or one column named {', '.join(_LABELS)}, "
            f"got {shown(', '.join(table.names))}"
        )
    return named[0]


def _said(ends: Any) -> NDArray[np.int8]:
    """Return what ids would mean as labels, -1 where they would mean none."""
    cells = pc.utf8_lower(ends)
    positive, negative = (np.asarray(pc.is_in(cells, pa.array(words))) for words in (_TRUE, _FALSE))
    return np.where(positive, 1, np.where(negative, 0, -1)).astype(np.int8)


def _label_values(table: Table, label: int) -> NDArray[np.int8]:
    cells = pc.utf8_lower(texts(table.columns[label]))
    found = np.full(len(cells), -1, np.int8)
    codes = cells.dictionary_encode()
    for code, text in enumerate(codes.dictionary.to_pylist()):
        rows = np.asarray(pc.equal(codes.indices, code).fill_null(False))
        if text.strip() in _TRUE:
            found[rows] = 1
        elif text.strip() in _FALSE:
            found[rows] = 0
        elif text.strip() not in ("", "null", "none"):
            raise InvalidInput(f"{table.path.name}: expected labels 0, 1 or nothing, got {shown(text)}")
    return found


@dataclass(frozen=True, slots=True)
class _EdgeList:
    name: str
    source: str
    target: str
    sources: Any
    targets: Any
    names: tuple[str, ...]
    attributes: NDArray[np.float32]
    clocks: frozenset[str]

    @staticmethod
    def read(name: str, path: Path, target: str, own: Any, strict: bool, notes: list[str]) -> "_EdgeList":
        table = read_table(path, id_columns=2)
        if len(table.names) < 2:
            raise InvalidInput(
                f"{path.name}: expected two columns of node ids, got {shown(','.join(table.names))}"
            )
        ends = [texts(column) for column in table.columns[:2]]
        kinds = [
            _kind(cell, end, target, own, path.name, strict, notes)
            for cell, end in zip(table.names[:2], ends, strict=True)
        ]
        there = np.asarray(pc.and_(pc.is_valid(ends[0]), pc.is_valid(ends[1])))
        if not there.all():
            notes.append(f"{path.name}: {int((~there).sum()):,} rows with an empty value are no edges")
        names, values, clocks = _attributes(table, notes)
        kept = pa.array(np.flatnonzero(there))
        return _EdgeList(
            name, kinds[0], kinds[1], ends[0].take(kept), ends[1].take(kept), names, values[there], clocks
        )

    def ends(self) -> tuple[tuple[str, Any], tuple[str, Any]]:
        """Return (node type, ids) of both ends."""
        return (self.source, self.sources), (self.target, self.targets)

    def refuse_labels(self, index: Any, target: str, labels: NDArray[np.int8]) -> None:
        """Return if this is no file of labels, whose second column would be read as two nodes, 0 and 1.

        Raises:
            InvalidInput: The other end of each labelled target is its label.
        """
        for (kind, ids), (other, ends) in (self.ends(), self.ends()[::-1]):
            if kind != target or other == target:
                continue
            told = labels[np.asarray(pc.index_in(ids, index), np.int64)]
            known = told >= 0
            if len(np.unique(told[known])) == 2 and np.array_equal(_said(ends)[known], told[known]):
                raise InvalidInput(
                    f"edges: expected edges in {self.name}, got the labels: {other} is the label of every labelled "
                    f"{target}; leave that file out"
                )

    def edges(self, index: dict[str, Any]) -> Edges:
        """Return the edges as places."""
        sources = np.asarray(pc.index_in(self.sources, index[self.source]), np.int64)
        targets = np.asarray(pc.index_in(self.targets, index[self.target]), np.int64)
        return Edges(
            self.name, self.source, self.target, sources, targets, self.names, self.attributes, self.clocks
        )


def _kind(cell: str, ends: Any, target: str, own: Any, file: str, strict: bool, notes: list[str]) -> str:
    """Return the node type of one column of an edge list."""
    if cell == target or any(cell == target + end for end in _SUFFIXES):
        return target
    if any(cell == head + target for head in _PREFIXES):
        return target
    distinct = pc.unique(ends.drop_null())
    shared = pc.sum(pc.is_in(distinct, own)).as_py() or 0
    share = shared / max(len(distinct), 1)
    if share >= 0.5 and cell.lower() in _ROLES:
        return target
    if share >= _SAME and not strict:
        notes.append(f"{file}: column {cell} holds ids of {target} and is read as such")
        return target
    if share >= _SAME:
        notes.append(
            f"{file}: column {cell} holds ids of {target} under another name; call it {target} to link them"
        )
    return cell


def _attributes(
    table: Table, notes: list[str]
) -> tuple[tuple[str, ...], NDArray[np.float32], frozenset[str]]:
    """Return names and values of what edges carry, and which of them are times, told from the earliest one on."""
    clocks = set()
    names: list[str] = []
    found: list[NDArray[np.float64]] = []
    for name, column in zip(table.names[2:], table.columns[2:], strict=True):
        is_time = name == "time" or pa.types.is_temporal(column.type)
        values = epoch_seconds(column) if is_time else numbers(column, name, table.path.name, notes)
        if values is None:
            values, is_time = epoch_seconds(column), True
        if values is not None and is_time and len(values) and not np.isnan(values).all():
            values = values - np.nanmin(values)  # in float32 a second since 1970 is a minute or two
            clocks.add(name)
        if values is None:
            notes.append(f"{table.path.name}: column {name} holds texts and is left out")
        elif name in names:
            raise InvalidInput(f"{table.path.name}: expected each column once, got {shown(name)} twice")
        else:
            names.append(name)
            found.append(values)
    values = np.column_stack(found) if found else np.empty((len(table), 0))
    return tuple(names), values.astype(np.float32), frozenset(clocks)
