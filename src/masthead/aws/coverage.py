"""What AWS's own clients have run against this house, operation by operation: the table of `docs/aws-coverage.md`.

`coverage.json` is written by the tests of the wire, from calls that were made and asserted; nobody edits it, nor the
page. An operation that no test ran has a row that says so, and that is a problem.
"""

import importlib.resources
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from masthead.aws.models import SERVICES, read_model
from masthead.aws.services import translators

__all__ = ["Row", "page", "problems", "read_results"]

DOORS = ("in process", "loopback")
_CLIENTS = 2  # of boto3: the last release that knows every service, and the newest
_NOT_RUN = "**no test ran it**"
_HEAD = """\
# What AWS's clients can call

Written by `masthead aws coverage` from the results of `tests/wire`; nobody edits it. A row is an operation of a service
model. Every client ran it over loopback and in process, where the request that botocore has signed is handed to the
core without a socket. *Errors* are those that the real verbs and checks answered, with code, message and modelled
members asserted; beside them each error that a model lists for an operation, also those that only a defect could
cause, was sent once and met as the client's own exception. *Verbs* are those of Masthead that an answer took.

`served` is answered with what Masthead does; `refused` is told no by name, with the code; `later` is routed,
authenticated and answered with the code, until the capability behind it is here.

"""


@dataclass(frozen=True, slots=True)
class Row:
    """What tests have seen of one operation.

    Attributes:
        state: `served`, `refused`, `later`, or "" when nothing ran it.
        code: With which it is refused.
        clients: That ran it, with their versions.
        doors: Through which they came.
        errors: Codes that were asserted.
        verbs: Of Masthead, that its answers took.
    """

    service: str
    operation: str
    state: str
    code: str
    clients: tuple[str, ...]
    doors: tuple[str, ...]
    errors: tuple[str, ...]
    verbs: tuple[str, ...]


def read_results() -> list[Row]:
    """Return the committed results of the tests."""
    text = importlib.resources.files("masthead.aws").joinpath("coverage.json").read_bytes()
    return [_row(one) for one in orjson.loads(text)]


def _row(given: Mapping[str, Any]) -> Row:
    lists = {name: tuple(given[name]) for name in ("clients", "doors", "errors", "verbs")}
    return Row(given["service"], given["operation"], given["state"], given["code"], **lists)


def page(rows: Sequence[Row]) -> str:
    """Return the page of the docs, in Markdown."""
    counted = {state: sum(row.state == state for row in rows) for state in ("served", "refused", "later")}
    total = ", ".join(f"{count} {state}" for state, count in counted.items())
    lines = [f"{len(rows)} operations: {total}.", ""]
    for service in sorted({row.service for row in rows}):
        lines += [f"## {service}", "", "| operation | | clients | errors | verbs |", "|---|---|---|---|---|"]
        lines += [_line(row) for row in rows if row.service == service]
        lines.append("")
    return _HEAD + "\n".join(lines)


def _line(row: Row) -> str:
    state = f"{row.state}: `{row.code}`" if row.code else row.state or _NOT_RUN
    cells = (
        f"`{row.operation}`",
        state,
        ", ".join(row.clients),
        ", ".join(f"`{code}`" for code in row.errors if code != row.code or row.state == "served"),
        ", ".join(f"`{verb}`" for verb in row.verbs),
    )
    return f"| {' | '.join(cells)} |"


def problems(rows: Sequence[Row]) -> list[str]:
    """Return what is missing in the results: operations without a row, rows that no test ran, and untrue ones."""
    served = translators()
    wanted = {(name, operation) for name in SERVICES for operation in read_model(name)["operations"]}
    found = {(row.service, row.operation) for row in rows}
    missing = [f"{service} {operation}: no row" for service, operation in sorted(wanted - found)]
    foreign = [f"{service} {operation}: no model has it" for service, operation in sorted(found - wanted)]
    twice = [] if len(rows) == len(found) else [f"rows: expected {len(found)}, got {len(rows)}"]
    untrue = []
    for row in rows:
        has_verb = row.operation in served.get(row.service, {})
        where = f"{row.service} {row.operation}"
        if not row.clients:
            untrue.append(f"{where}: no test ran it")
        elif len([one for one in row.clients if one.startswith("boto3 ")]) < _CLIENTS:
            untrue.append(f"{where}: expected {_CLIENTS} releases of boto3, got {', '.join(row.clients)}")
        elif not set(DOORS) <= set(row.doors):
            untrue.append(f"{where}: expected it {' and '.join(DOORS)}, got {', '.join(row.doors)}")
        elif (row.state in ("served", "refused")) != has_verb:
            untrue.append(f"{where}: the results say {row.state}, the translators do not")
    return missing + foreign + twice + untrue
