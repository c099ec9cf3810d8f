"""`masthead backup FILE` and `masthead restore FILE`."""

import typer


def mount(app: typer.Typer) -> None:
    """Add the commands."""
