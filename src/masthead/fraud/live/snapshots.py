"""A book as one file, so that a start takes only what was accepted since. A cache: without it the tables tell the same.

The file is an npz without pickles, whose zip checks every array. It counts only for the very code that wrote it, for the
same columns, and for a log in which its last entries lie as they did; else it is removed and the tables are read. Who
is erased must not live on in it: it is removed with every erasure.
"""

import functools
import hashlib
import io
import zipfile
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from masthead.base.folder import write_atomic
from masthead.base.log import get_logger
from masthead.fraud.scoring import kernel, state
from masthead.fraud.store.log import Head, TransactionLog

if TYPE_CHECKING:
    from masthead.fraud.live.book import Book

__all__ = ["Frozen", "freeze", "read_snapshot", "snapshot_path", "write_snapshot"]

Frozen = dict[str, Any]  # name -> array


def snapshot_path(folder: Path, space: str) -> Path:
    """Return where the snapshot of a space lies."""
    return folder / f"{space}.npz"


@functools.cache
def _code() -> str:
    """Return what tells this code from every other that gives the arrays a meaning."""
    found = hashlib.sha256()
    for module in (kernel, state):
        found.update(Path(str(module.__file__)).read_bytes())
    found.update(Path(__file__).read_bytes())
    return found.hexdigest()


def freeze(book: "Book") -> Frozen:
    """Return copies of all that a book remembers, as arrays."""
    sizes = [len(known) for known in book.eids]
    told = {
        "code": _code(),
        "space": book.space,
        "digest": book.schema.digest(),
        "layouts": [one.layout.to_json() for one in book.states],
        "last": book.last,
        "newest": [book.near, book.far],
        "epoch": book.epoch,
        "waiting": sorted(book.waiting),
        "keys": [
            key for known in book.eids for key in known
        ],  # flat: half a million small lists keep the collector busy
    }
    found: Frozen = {
        "told": np.frombuffer(orjson.dumps(told), np.uint8),
        "eids": np.fromiter((eid for known in book.eids for eid in known.values()), np.int64, sum(sizes)),
        "sizes": np.array(sizes, np.int64),
        "coming": np.array(book.coming, np.int64).reshape(-1, 4),
    }
    for place, one in enumerate(book.states):
        found |= {f"{place}.{name}": array for name, array in one.dump().items()}
    return found


def write_snapshot(path: Path, frozen: Frozen, store: TransactionLog) -> None:
    """Write a snapshot, unless something was taken away meanwhile."""
    told = orjson.loads(frozen["told"].tobytes())
    if store.head().epoch != told["epoch"]:
        return
    trace = orjson.dumps(store.trace(told["space"], told["last"]))
    out = io.BytesIO()
    np.savez(out, trace=np.frombuffer(trace, np.uint8), **frozen)
    write_atomic(path, out.getvalue())
    if store.head().epoch != told["epoch"]:  # who was just erased must not stay here
        path.unlink(missing_ok=True)


def read_snapshot(path: Path, book: "Book", store: TransactionLog, head: Head) -> bool:
    """Let an empty book take a snapshot; return whether it did. One that does not fit is removed."""
    if not path.exists():
        return False
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
        told = orjson.loads(found["told"].tobytes())
        trace = orjson.loads(found["trace"].tobytes())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        get_logger("fraud").warning("a snapshot is damaged and removed", path=path.name, error=str(error))
        path.unlink(missing_ok=True)
        return False
    fits = (
        (told["code"], told["space"], told["digest"]) == (_code(), book.space, book.schema.digest())
        and told["epoch"] == head.epoch
        and told["last"] <= head.last
        and trace == store.trace(book.space, told["last"])
    )
    layouts = [orjson.dumps(one) for one in told["layouts"]]
    wanted = [orjson.dumps(one.layout.to_json()) for one in book.states]
    if not fits or not set(wanted) <= set(layouts):
        path.unlink(missing_ok=True)
        return False
    known = zip(told["keys"], found["eids"].tolist(), strict=True)  # relation by relation
    book.thaw(told, [dict(islice(known, size)) for size in found["sizes"].tolist()], found["coming"])
    for one, layout in zip(book.states, wanted, strict=True):
        start = f"{layouts.index(layout)}."
        one.restore(
            {name.removeprefix(start): array for name, array in found.items() if name.startswith(start)}
        )
    return True
