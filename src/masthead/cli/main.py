"""The command `masthead`: mounts every room's commands and turns errors into one line and an exit status.

Exit status: 0; 2 for input that cannot be used; 1 for anything else.
"""

import gc
import importlib
import os
import sys
from collections.abc import Collection, Sequence
from typing import Annotated

import typer

from masthead.base.errors import InvalidInput, MastheadError
from masthead.cli.grammar import new_room
from masthead.cli.installation import INVALID, OTHER
from masthead.cli.rooms import ROOMS

COMMANDS = ("serve", "logs", "audit", "backup")
_COMPLETION = "_MASTHEAD_COMPLETE"  # set by the shell that asks for completions


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("masthead"))
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Sees things coming: anomalies in streams of readings, on your own machine."""


def build(asked: Collection[str] | None = None) -> typer.Typer:
    """Return the command line.

    Args:
        asked: The groups whose commands are loaded, the others stand there with their help alone; None: all.
    """
    app = typer.Typer(
        name="masthead",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name in COMMANDS:
        importlib.import_module(f"masthead.cli.{name}").mount(app)
    for name, text in ROOMS.items():
        whole = asked is None or name in asked
        group = importlib.import_module(f"masthead.cli.{name}").app if whole else new_room(text)
        app.add_typer(group, name=name)
    return app


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status; errors are one line on standard error."""
    try:
        given = sys.argv[1:] if arguments is None else list(arguments)
        # The help of all groups takes a third less time when it loads the commands of none.
        app = build(None if _COMPLETION in os.environ else given)
        status = app(args=given, standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except typer.TyperException as error:
        # Typer's usage errors end with 2, as invalid input does; no arguments at all print the help.
        return _failed(error.format_message(), error.exit_code)
    except InvalidInput as error:
        return _failed(error.message, INVALID)
    except MastheadError as error:
        return _failed(error.message, OTHER)
    except (KeyboardInterrupt, typer.Abort):
        return _failed("stopped", OTHER)
    except BrokenPipeError:
        # The reader of our output went away, say `head`; Python's own flush at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OTHER
    except Exception as error:
        if os.environ.get("MASTHEAD_LOG_LEVEL") == "debug":
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return _failed(f"{reason[:500]} (MASTHEAD_LOG_LEVEL=debug shows where)", OTHER)


def main() -> None:
    """Run the command line of this process."""
    # What is loaded stays: looking for garbage after each 700 new objects costs a command a tenth of its start.
    gc.set_threshold(50_000)
    sys.exit(run())


def _failed(message: str, status: int) -> int:
    text = " ".join(message.split())
    if text:
        print(f"masthead: {text}", file=sys.stderr)
    return status


if __name__ == "__main__":
    main()
