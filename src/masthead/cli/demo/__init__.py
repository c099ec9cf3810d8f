"""`masthead demo`: the whole product told as a story, in a folder of its own."""

from masthead.cli.demo.commands import app

__all__ = ["app"]
