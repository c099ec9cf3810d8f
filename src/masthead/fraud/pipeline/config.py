"""What a pipeline is asked to do: a document with every value checked, every default filled in, nothing unknown."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from masthead.base.errors import InvalidInput, nearest, shown

__all__ = ["STEPS", "Config", "UserScript", "read_config", "retraining"]

STEPS = (
    "normalise-parameters",
    "ingest",
    "catalogue",
    "process",
    "hyperparameters",
    "train",
    "load-graph",
    "package",
    "create-model",
    "endpoint-configuration",
    "create-or-update-endpoint",
    "check",
)
"""In the article's order."""

_LIMITS_S: Mapping[str, float] = {
    "process": 4 * 3600.0,
    "hyperparameters": 24 * 3600.0,
    "train": 24 * 3600.0,
    "load-graph": 4 * 3600.0,
}
_LIMIT_S = 3600.0
_MOST_LIMIT_S = 7 * 86_400.0
CANDIDATE = "-candidate"
CHALLENGER = "-challenger"
MOST_TRIALS = 100
_NUMBERS = {
    "learning_rate": (1e-4, 1.0),
    "num_leaves": (2, 1024),
    "min_data_in_leaf": (1, 100_000),
    "feature_fraction": (0.01, 1.0),
    "bagging_fraction": (0.01, 1.0),
    "lambda_l2": (0.0, 10_000.0),
    "max_bin": (7, 255),
}
"""What may be given of LightGBM's parameters, and between which bounds."""


@dataclass(frozen=True, slots=True)
class UserScript:
    """A training script of the user in place of ours; see `learn.scripts`. source_dir: "" = the entry point alone."""

    entry_point: str
    source_dir: str = ""
    python: str = ""
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Config:
    """A pipeline's parameters.

    Attributes:
        schema: A file, or the name of a built-in one. data: Files and folders. labels: A file; "" = in the data.
        train_from, train_until, labels_until: As on a command line, in text; "" = all.
        engine, format: Of the process step: duckdb or spark; csv, parquet or both.
        hyperparameters: Given ones. trials: How many to try besides, forward-chained; 0 = none.
        script: The user's own training; None = ours.
        endpoint: Under which name the model answers at the end; "" = it is not deployed.
        shadow: Whether it decides nothing there.
        load: Whether the transactions are loaded into the live graph.
        limits_s: How long each step may take.
        live: Whether what is stored is learned from, in place of files. challenges: The deployment that it is for.
    """

    schema: str
    data: tuple[str, ...]
    labels: str = ""
    train_from: str = ""
    train_until: str = ""
    labels_until: str = ""
    seed: int = 0
    engine: str = "duckdb"
    format: str = "csv"
    hyperparameters: Mapping[str, float] = field(default_factory=dict)
    trials: int = 0
    script: UserScript | None = None
    endpoint: str = ""
    shadow: bool = False
    load: bool = True
    limits_s: Mapping[str, float] = field(default_factory=dict)
    live: bool = False
    challenges: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, which `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return what `to_json` gave."""
        script = value["script"]
        return cls(
            **{
                **value,
                "data": tuple(value["data"]),
                "script": None if script is None else UserScript(**script),
            }
        )


_TABLES: Mapping[str, tuple[str, ...]] = {
    "": ("schema", "data", "labels", "train", "process", "endpoint", "load", "limits_s"),
    "train": ("from", "until", "labels_until", "seed", "trials", "hyperparameters", "script"),
    "train.script": ("entry_point", "source_dir", "python", "hyperparameters", "metrics"),
    "process": ("engine", "format"),
    "endpoint": ("name", "shadow"),
}


def read_config(document: Mapping[str, Any], *, folder: Path) -> Config:
    """Return the parameters that a document gives.

    Args:
        document: Of TOML or JSON.
        folder: Relative paths are seen from here.

    Raises:
        InvalidInput: An unknown key, a wrong type or a value out of its range; the key is named.
    """
    train, process, endpoint = (_table(document, name) for name in ("train", "process", "endpoint"))
    for name, table in (("", document), ("train", train), ("process", process), ("endpoint", endpoint)):
        _known(table, name, _TABLES[name])
    data = document.get("data")
    given = [data] if isinstance(data, str) else data
    if not isinstance(given, list) or not given or not all(isinstance(one, str) and one for one in given):
        raise InvalidInput(f"data: expected a path or a list of paths, got {shown(data)}")
    name = _text(endpoint, "endpoint.name", "")
    if name:
        from masthead.learn.endpoints import check_endpoint_name  # brings the database; children have none

        check_endpoint_name(name + CANDIDATE)  # it answers under that name until it is checked
    labels = _text(document, "labels", "")
    return Config(
        schema=_schema(_text(document, "schema"), folder),
        data=tuple(_path(one, folder) for one in given),
        labels=_path(labels, folder) if labels else "",
        train_from=_moment(train, "train.from"),
        train_until=_moment(train, "train.until"),
        labels_until=_moment(train, "train.labels_until"),
        seed=_whole(train, "train.seed", 0, 0, 2**31 - 1),
        engine=_choice(process, "process.engine", ("duckdb", "spark")),
        format=_choice(process, "process.format", ("csv", "parquet", "both")),
        hyperparameters=_hyperparameters(train),
        trials=_whole(train, "train.trials", 0, 0, MOST_TRIALS),
        script=_script(train, folder),
        endpoint=name,
        shadow=_flag(endpoint, "endpoint.shadow", False),
        load=_flag(document, "load", True),
        limits_s=_limits(document),
    )


def retraining(name: str, *, schema: str, labels_until: str, trials: int) -> Config:
    """Return the parameters of a run that learns from what is stored, for the challenger of a deployment.

    Args:
        labels_until: Labels that arrive later teach nothing; what is not mature by then neither.

    Raises:
        InvalidInput: The name is too long for a challenger's, or there are too many trials.
    """
    from masthead.learn.endpoints import check_endpoint_name

    check_endpoint_name(name + CHALLENGER + CANDIDATE)
    return Config(
        schema=schema,
        data=(),
        labels_until=labels_until,
        trials=_whole({"trials": trials}, "trials", 0, 0, MOST_TRIALS),
        endpoint=name + CHALLENGER,
        shadow=True,
        load=False,
        limits_s=_limits({}),
        live=True,
        challenges=name,
    )


def _script(train: Mapping[str, Any], folder: Path) -> UserScript | None:
    if train.get("script") is None:
        return None
    table = _table(train, "train.script")
    _known(table, "train.script", _TABLES["train.script"])
    python = _text(table, "train.script.python", "")
    metrics = _table(table, "train.script.metrics")
    if not all(isinstance(one, str) for one in metrics.values()):
        raise InvalidInput(f"train.script.metrics: expected expressions by name, got {shown(metrics)}")
    entry_point = _text(table, "train.script.entry_point")
    source_dir = _text(table, "train.script.source_dir", "")
    return UserScript(
        entry_point=entry_point if source_dir else _path(entry_point, folder),
        source_dir=_path(source_dir, folder) if source_dir else "",
        python=_path(python, folder) if "/" in python else python,
        hyperparameters=dict(_table(table, "train.script.hyperparameters")),
        metrics=dict(metrics),
    )


def _hyperparameters(train: Mapping[str, Any]) -> dict[str, float]:
    table = _table(train, "train.hyperparameters")
    _known(table, "train.hyperparameters", tuple(_NUMBERS))
    found = {}
    for name, value in table.items():
        low, high = _NUMBERS[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise InvalidInput(
                f"train.hyperparameters.{name}: expected a number from {low:g} to {high:g}, got {shown(value)}"
            )
        if isinstance(low, int) and value != int(value):
            raise InvalidInput(f"train.hyperparameters.{name}: expected a whole number, got {shown(value)}")
        found[name] = int(value) if isinstance(low, int) else float(value)
    return found


def _limits(document: Mapping[str, Any]) -> dict[str, float]:
    table = _table(document, "limits_s")
    _known(table, "limits_s", STEPS)
    for name, value in table.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _MOST_LIMIT_S:
            raise InvalidInput(
                f"limits_s.{name}: expected seconds up to {_MOST_LIMIT_S:g}, got {shown(value)}"
            )
    return {name: float(table.get(name, _LIMITS_S.get(name, _LIMIT_S))) for name in STEPS}


def _known(table: Mapping[str, Any], where: str, names: tuple[str, ...]) -> None:
    for name in table:
        if name not in names:
            path = f"{where}.{name}" if where else name
            raise InvalidInput(
                f"{path}: expected one of {', '.join(names)}, got an unknown key (near: {nearest(name, names)})"
            )


def _table(document: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    found = document.get(path.rpartition(".")[2], {})
    if not isinstance(found, Mapping):
        raise InvalidInput(f"{path}: expected a table, got {shown(found)}")
    return found


def _text(table: Mapping[str, Any], path: str, default: str | None = None) -> str:
    found = table.get(path.rpartition(".")[2], default)
    if not isinstance(found, str) or (default is None and not found):
        raise InvalidInput(f"{path}: expected a text, got {shown(found)}")
    return found


def _moment(table: Mapping[str, Any], path: str) -> str:
    """Return a time as text: what a command line would say; TOML has times of its own, and numbers are units."""
    found = table.get(path.rpartition(".")[2], "")
    if isinstance(found, bool | list | Mapping):
        raise InvalidInput(f"{path}: expected a time, got {shown(found)}")
    return found.isoformat() if hasattr(found, "isoformat") else str(found)


def _whole(table: Mapping[str, Any], path: str, default: int, low: int, high: int) -> int:
    found = table.get(path.rpartition(".")[2], default)
    if isinstance(found, bool) or not isinstance(found, int) or not low <= found <= high:
        raise InvalidInput(f"{path}: expected a whole number from {low} to {high}, got {shown(found)}")
    return found


def _flag(table: Mapping[str, Any], path: str, default: bool) -> bool:
    found = table.get(path.rpartition(".")[2], default)
    if not isinstance(found, bool):
        raise InvalidInput(f"{path}: expected true or false, got {shown(found)}")
    return found


def _choice(table: Mapping[str, Any], path: str, known: tuple[str, ...]) -> str:
    found = table.get(path.rpartition(".")[2], known[0])
    if found not in known:
        raise InvalidInput(f"{path}: expected one of {', '.join(known)}, got {shown(found)}")
    return str(found)


def _schema(given: str, folder: Path) -> str:
    """Return a path as it stands from anywhere; a plain word is the name of a built-in schema, if no such file is there."""
    if re.fullmatch(r"[a-z0-9-]+", given) and not (folder / given).exists():
        return given
    return _path(given, folder)


def _path(given: str, folder: Path) -> str:
    return str((folder / Path(given).expanduser()).absolute())
