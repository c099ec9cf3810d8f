"""Graphs whose answer is known, in the file contract: what a graph network must find, and what it must not make up.

Kinds:

    relational  the label follows the features of the neighbours; own features say a little
    company     fraud is among itself: neighbours share the label, and no feature says anything
    amounts     the label follows what the edges carry
    nothing     the label follows own features; edges are drawn at random
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput, shown

__all__ = ["KINDS", "Sample", "make_sample", "write_sample"]

KINDS = ("relational", "company", "amounts", "nothing")
_COLUMNS = 6
_FRAUD = 0.08
_TESTED = 0.25


@dataclass(frozen=True, slots=True)
class Sample:
    """Users, transfers between them, and devices that they share.

    Attributes:
        x: (users, columns). labels: (users,). sources, targets, amounts: (edges,) transfers.
        devices: (users,) the device of each. tested: Users that are held out.
    """

    x: NDArray[np.float64]
    labels: NDArray[np.int8]
    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    amounts: NDArray[np.float64]
    devices: NDArray[np.int64]
    tested: NDArray[np.int64]


def make_sample(kind: str, *, nodes: int = 2_000, edges: int = 40_000, seed: int = 0) -> Sample:
    """Return a graph of one kind.

    Raises:
        InvalidInput: There is no such kind.
    """
    if kind not in KINDS:
        raise InvalidInput(f"kind: expected {', '.join(KINDS)}, got {shown(kind)}")
    chance = np.random.default_rng([seed, KINDS.index(kind)])
    x = chance.normal(size=(nodes, _COLUMNS))
    # Users live in towns of about 50 and deal mostly inside their own, as neighbours that resemble each other do.
    town = chance.integers(0, max(nodes // 50, 2), nodes)
    x[:, :2] += chance.normal(0, 1.2, (town.max() + 1, 2))[town]
    sources = chance.integers(0, nodes, edges)
    targets = chance.integers(0, nodes, edges)
    amounts = np.exp(chance.normal(3, 1, edges))
    if kind == "relational":
        targets = _inside(chance, town, sources, targets, 0.7)
        raw = 0.5 * x[:, 2] + 3 * _mean(np.r_[sources, targets], x[np.r_[targets, sources], 0], nodes)
    elif kind == "nothing":
        raw = 2 * x[:, 2] - x[:, 3] ** 2
    elif kind == "amounts":
        secret = chance.normal(size=nodes)
        amounts *= np.exp(secret[sources])
        raw = 2 * secret + 0.5 * x[:, 2]
    else:
        raw = chance.normal(size=nodes)
    labels = _labels(raw + chance.normal(0, 0.7, nodes) * (kind != "company"))
    if kind == "company":
        targets = _inside(chance, labels.astype(np.int64), sources, targets, 0.3)
    devices = chance.integers(0, max(nodes // 3, 2), nodes)
    tested = np.sort(chance.permutation(nodes)[: int(nodes * _TESTED)])
    return Sample(x, labels, sources, targets, amounts, devices, tested)


def write_sample(sample: Sample, folder: Path) -> None:
    """Write a sample as the file contract has it; transfers are Parquet, because they carry an amount."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = np.array([f"u{place}" for place in range(len(sample.labels))])
    features = {f"x{place}": sample.x[:, place] for place in range(sample.x.shape[1])}
    pacsv.write_csv(pa.table({"user_id": ids, **features}), folder / "features.csv")
    pacsv.write_csv(pa.table({"user_id": ids, "fraud": sample.labels}), folder / "tags.csv")
    (folder / "test.csv").write_text("".join(f"{one}\n" for one in ids[sample.tested]))
    transfers = {
        "user_id_src": ids[sample.sources],
        "user_id_dst": ids[sample.targets],
        "amount": sample.amounts,
    }
    parquet.write_table(pa.table(transfers), folder / "relation_transfers_edgelist.parquet")
    owned = pa.table({"user_id": ids, "device": sample.devices})
    pacsv.write_csv(owned, folder / "relation_device_edgelist.csv")


def _labels(raw: NDArray[np.float64]) -> NDArray[np.int8]:
    return (raw > np.quantile(raw, 1 - _FRAUD)).astype(np.int8)


def _mean(receivers: NDArray[np.int64], values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    sums = np.bincount(receivers, values, minlength=count)
    mean = sums / np.maximum(np.bincount(receivers, minlength=count), 1)
    return np.asarray((mean - mean.mean()) / max(mean.std(), 1e-9))


def _inside(
    chance: np.random.Generator,
    group: NDArray[np.int64],
    sources: NDArray[np.int64],
    targets: NDArray[np.int64],
    share: float,
) -> NDArray[np.int64]:
    """Return the targets with a share of them drawn from the source's own group."""
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(group.max() + 2))
    mine = group[sources]
    near = order[
        starts[mine] + (chance.random(len(sources)) * (starts[mine + 1] - starts[mine])).astype(np.int64)
    ]
    return np.where(chance.random(len(sources)) < share, near, targets)
