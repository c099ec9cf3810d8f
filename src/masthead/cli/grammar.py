"""The verbs that every noun has, with one grammar: `create NAME --file F`, `list`, `show NAME`, `delete NAME`."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from masthead.cli.documents import read_document
from masthead.cli.installation import AsJson, Data, File, Name, installation
from masthead.cli.output import print_fields, print_json, print_table

if TYPE_CHECKING:
    from masthead.app import Masthead


@dataclass(frozen=True, slots=True)
class Noun:
    """What the shared verbs need to know of a noun.

    Attributes:
        word: As people say it, say `delivery stream`.
        columns: (title, field) of the list.
        listed: Returns all of them.
        got: Returns the one of a name.
        deleted: Deletes the one of a name.
        told: Prints one for people; by default its fields.
    """

    word: str
    columns: Sequence[tuple[str, str]]
    listed: "Callable[[Masthead], Iterable[Any]]"
    got: "Callable[[Masthead, str], Any]"
    deleted: "Callable[[Masthead, str], Any]"
    told: Callable[[dict[str, Any]], None] = print_fields


def new_room(help_text: str) -> typer.Typer:
    """Return a room's group of commands, empty as yet."""
    return typer.Typer(help=help_text, no_args_is_help=True, rich_markup_mode=None)


def add_verbs(app: typer.Typer, noun: Noun) -> None:
    """Add `list`, `show` and `delete`."""

    @app.command("list", help=f"List every {noun.word}.")
    def list_all(as_json: AsJson = False, data: Data = None) -> None:
        with installation(data) as masthead:
            rows = [one.to_json() for one in noun.listed(masthead)]
        if as_json:
            print_json(rows)
        else:
            print_table(noun.columns, rows, empty=f"There is no {noun.word} yet.")

    @app.command("show", help=f"Show one {noun.word}.")
    def show(name: Name, as_json: AsJson = False, data: Data = None) -> None:
        with installation(data) as masthead:
            found = noun.got(masthead, name)
        answer(found, as_json=as_json, told=noun.told)

    @app.command("delete", help=f"Delete {a(noun.word)}.")
    def delete(name: Name, as_json: AsJson = False, data: Data = None) -> None:
        with installation(data) as masthead:
            noun.deleted(masthead, name)
        if as_json:
            print_json({"deleted": name})
        else:
            print(f"deleted {noun.word} {name}")


def add_create(app: typer.Typer, word: str, created: "Callable[[Masthead, dict[str, Any]], Any]") -> None:
    """Add `create NAME --file F`; the name of the command line wins over one in the file."""

    @app.command("create", help=f"Create {a(word)} from a file.")
    def create(name: Name, file: File, as_json: AsJson = False, data: Data = None) -> None:
        document = {**read_document(file), "name": name}
        with installation(data) as masthead:
            made = created(masthead, document)
        if as_json:
            print_json(made.to_json())
        else:
            print(f"created {word} {name}")


def answer(found: Any, *, as_json: bool, told: Callable[[dict[str, Any]], None] = print_fields) -> None:
    """Print one noun, or the JSON form of one; `told` prints it for people."""
    value = found.to_json() if hasattr(found, "to_json") else found
    if as_json:
        print_json(value)
    else:
        told(value)


def a(word: str) -> str:
    """Return a noun with its article.

    >>> a("thing"), a("alert rule")
    ('a thing', 'an alert rule')
    """
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"
