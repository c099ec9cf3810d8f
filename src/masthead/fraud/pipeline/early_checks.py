"""What can be refused before a run begins: it keeps its parameters, so a mistake in them would fail it for good."""

from pathlib import Path

from masthead.base.errors import InvalidInput, NotFound, shown
from masthead.fraud.data.schema import Schema
from masthead.fraud.data.tables import find_files
from masthead.fraud.data.values import parse_time
from masthead.fraud.pipeline.config import Config, UserScript
from masthead.learn.scripts import Script, check_script

__all__ = ["require_files", "require_sense", "script_of"]


def require_sense(config: Config, schema: Schema) -> None:
    """Return if the times are times of the schema, in order, and the script is there.

    Raises:
        InvalidInput: One is not; the key is named.
    """
    first, until, _ = (
        parse_time(schema, given, field=name) if given else None
        for name, given in (
            ("train.from", config.train_from),
            ("train.until", config.train_until),
            ("train.labels_until", config.labels_until),
        )
    )
    if first is not None and until is not None and first >= until:
        raise InvalidInput(
            f"train.from: expected a time before train.until, got {config.train_from} and {config.train_until}; "
            "exchange them"
        )
    if config.script is not None:
        try:
            check_script(script_of(config.script))
        except (InvalidInput, NotFound) as error:
            # Of the command line each metric is an option by itself.
            field = "metrics" if error.field == "metric" else error.field
            raise InvalidInput(f"train.script.{field}:{error.message.partition(':')[2]}") from error


def require_files(config: Config) -> None:
    """Return if there are files of data, and of labels where they are asked for.

    Raises:
        InvalidInput: There are none.
    """
    find_files([Path(one) for one in config.data])
    if config.labels and not Path(config.labels).exists():
        raise InvalidInput(f"labels: expected a file or a folder, got {shown(config.labels)}")


def script_of(asked: UserScript) -> Script:
    """Return the script as it is run, still without data and without a place for its model."""
    return Script(
        entry_point=asked.entry_point,
        source_dir=Path(asked.source_dir) if asked.source_dir else None,
        channels={},
        hyperparameters=asked.hyperparameters,
        model_dir=Path(),
        python=asked.python,
        metrics=asked.metrics,
    )
