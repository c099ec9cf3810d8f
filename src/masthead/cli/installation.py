"""What every command shares: its options, the settings, and the data folder opened beside a running server."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masthead.cli.addresses import FOLLOW_S, let_server_follow

if TYPE_CHECKING:
    from masthead.app import Masthead
    from masthead.base.settings import Settings

Data = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="DIR", help="The data folder. [env: MASTHEAD_DATA; default: ./masthead-data]"
    ),
]
# Exit statuses: input that cannot be used, whether a command line, a file or a data set; and anything else.
INVALID, OTHER = 2, 1
# Fields that are paths: one that leads nowhere is input that cannot be used, unlike a noun that is not there.
_PATHS = ("data", "file", "labels", "model", "entry_point", "source_dir", "python", "channel")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]
File = Annotated[
    Path, typer.Option("--file", metavar="F", help="JSON or TOML; `-` reads JSON from standard input.")
]
Message = Annotated[
    Path | None, typer.Option("--message", metavar="FILE", help="A message to try it with; `-` reads it.")
]


def settings(data: Path | None, **options: Any) -> "Settings":
    """Return the settings of this process. The only place that hands the environment over."""
    from masthead.base.settings import load_settings, unknown_variables

    for line in unknown_variables(os.environ):
        warn(line)
    return load_settings(os.environ, data=data, **options)


def warn(message: str) -> None:
    """Tell a warning on standard error; the command goes on."""
    print(f"masthead: warning: {message}", file=sys.stderr)


@contextlib.contextmanager
def as_typed(*parameters: str) -> Iterator[None]:
    """Tell errors as whoever typed the command needs them: `train_until` is `--train-until`, and a path that leads
    nowhere is input that cannot be used.

    Args:
        parameters: Names of options as a function has them.
    """
    from masthead.base.errors import InvalidInput, MastheadError, NotFound, renamed

    options = {name: "--" + name.replace("_", "-") for name in parameters}
    try:
        yield
    except MastheadError as error:
        told = renamed(error, options)
        if isinstance(told, NotFound) and error.field in _PATHS:
            raise InvalidInput(told.message, field=told.field) from error
        if told is error:
            raise
        raise told from error


@contextlib.contextmanager
def installation(data: Path | None, patience_s: float = FOLLOW_S) -> Iterator["Masthead"]:
    """Give the product over its data folder, without the server's lock.

    A command that wrote returns when a running server follows what it wrote: a reading sent after `activate` is one of
    the detector's. A server that does not answer is told on standard error; it reads the database when it can.

    Args:
        patience_s: How long to wait for the server's answer.
    """
    from masthead.app import Masthead
    from masthead.base.log import configure_logs

    found = settings(data)
    configure_logs(as_json=found.log_json, level="warning" if found.log_level == "info" else found.log_level)
    with Masthead.open(found) as masthead:
        yield masthead
        wrote = masthead.database.wrote
    if wrote and (trouble := let_server_follow(found.data, patience_s)):
        warn(trouble)
