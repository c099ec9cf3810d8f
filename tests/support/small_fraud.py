"""One small fraud model for all tests of a process: it is trained once, in seconds, on generated transactions."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from masthead.fraud.data.columns import Events
from masthead.fraud.data.events import read_events
from masthead.fraud.data.generate import generate
from masthead.fraud.scoring.model import FraudModel

ROWS = 3_000


@functools.cache
def folder() -> Path:
    """Return a folder with `data` (as `masthead fraud generate` writes it) and `model`."""
    home = Path(tempfile.mkdtemp(prefix="masthead-fraud-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    generate(ROWS, 7, home / "data")
    # One thread: several wait for each other by spinning, which on a busy machine takes minutes.
    FraudModel.train(
        home / "data" / "schema.toml",
        paths(home),
        home / "data" / "labels.csv",
        threads=1,
        out=home / "model",
    )
    return home


def paths(home: Path) -> list[Path]:
    return [home / "data" / name for name in ("train_transaction.csv", "train_identity.csv")]


@functools.cache
def model() -> FraudModel:
    return FraudModel.load(folder() / "model")


@functools.cache
def events() -> Events:
    return read_events(model().schema, paths(folder()))


if __name__ == "__main__":
    model().warm_up()  # every compiled function lies on disk before several test processes would all compile it
