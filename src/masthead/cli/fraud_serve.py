"""`masthead fraud deploy | list | undeploy | models | spaces | transactions | label | erase`: transactions that are kept.

They work on the data folder that MASTHEAD_DATA names, beside a running server, which follows what they write.
"""

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from masthead.base.clock import FOREVER_US
from masthead.base.errors import InvalidInput, renamed, shown
from masthead.cli.addresses import served
from masthead.cli.grammar import answer
from masthead.cli.installation import OTHER, AsJson, Name, as_typed, installation
from masthead.cli.output import print_fields, print_json, print_table

__all__ = ["add"]

_WARM_S = 120.0
"""A server compiles what scores once on a machine, and reads all transactions of a space when its first model comes."""

Space = Annotated[str, typer.Option("--space", metavar="NAME", help="Where the transactions lie.")]
Model = Annotated[
    Path,
    typer.Option("--model", metavar="DIR", help="Folder of a model, as `masthead fraud train` writes it."),
]
Shadow = Annotated[bool, typer.Option("--shadow", help="Score along without deciding.")]
Subject = Annotated[
    str | None,
    typer.Option("--subject", metavar="IN", help='NATS subject whose messages are scored; "" = none.'),
]
Told = Annotated[
    str | None,
    typer.Option("--decisions", metavar="OUT", help="Subject of their decisions, else masthead.fraud.NAME."),
]
Released = Annotated[
    float | None,
    typer.Option(
        "--release-share", metavar="0..1", help="Of would-be reviews, how many pass to be measured."
    ),
]
Challenge = Annotated[
    str,
    typer.Option(
        "--challenge", metavar="NAME", help="Score along, and take this deployment's place once better."
    ),
]
Marks = Annotated[
    Path, typer.Option("--data", metavar="FILE", help="CSV or Parquet: the id's column, value, arrived_at.")
]
Source = Annotated[str, typer.Option("--source", metavar="WHO", help="chargeback, analyst or import.")]
Entity = Annotated[
    str, typer.Option("--entity", metavar="REL=VALUE", help="Whose transactions go.", show_default=False)
]
Flagged = Annotated[bool, typer.Option("--flagged", help="Only flagged ones.")]
Since = Annotated[datetime | None, typer.Option("--start", metavar="T", help="From this time on, UTC.")]
Until = Annotated[datetime | None, typer.Option("--end", metavar="T", help="Before this time, UTC.")]
Limit = Annotated[int, typer.Option("--limit", metavar="N", help="How many at most, 1 to 1000.")]


def add(app: typer.Typer) -> None:
    """Add the commands to `masthead fraud`."""
    for name, command in (
        ("deploy", deploy),
        ("list", list_deployments),
        ("undeploy", undeploy),
        ("models", models),
        ("transactions", transactions),
        ("spaces", spaces),
        ("label", label),
        ("erase", erase),
    ):
        app.command(name)(command)


def deploy(
    name: Name,
    model: Model,
    space: Space = "live",
    shadow: Shadow = False,
    challenge: Challenge = "",
    subject: Subject = None,
    decisions: Told = None,
    release_share: Released = None,
    as_json: AsJson = False,
) -> None:
    """Let a model score the transactions of the running server, from now on.

    What is not given of subject, decisions and share stays as the deployment of that name has it.
    """
    with installation(None, _WARM_S) as masthead, as_typed():
        made = masthead.fraud.deploy(
            name,
            model,
            space=space,
            shadow=shadow,
            challenges=challenge,
            subject=subject,
            decisions=decisions,
            release_share=release_share,
        )
        found = made.to_json()
        if sys.stderr.isatty() and served(masthead.settings.data):
            print("the server reads the model and its transactions ...", file=sys.stderr)
    if as_json:
        print_json(found)
        return
    taken = found["about"].get("subject")
    print(
        f"deployed {found['about']['version']} as {name}{' in shadow' if made.source['shadow'] else ''}"
        f"{f', taking {taken}' if taken else ''}"
    )


def list_deployments(as_json: AsJson = False) -> None:
    """List deployments: which model under which name, and what was counted of calls of their endpoints."""
    with installation(None) as masthead:
        rows = [one.to_json() for one in masthead.fraud.deployments()]
    if as_json:
        print_json(rows)
        return
    told = [row | {name: row["about"][name] for name in ("version", "space", "shadow")} for row in rows]
    columns = (("Name", "name"), ("Model", "version"), ("Space", "space"), ("Shadow", "shadow"))
    print_table((*columns, ("Since", "updated"), ("Calls", "calls")), told, empty="Nothing is deployed yet.")


def undeploy(name: Name, as_json: AsJson = False) -> None:
    """Take a deployment away; its model and its decisions stay."""
    with installation(None) as masthead:
        masthead.fraud.undeploy(name)
    if as_json:
        print_json({"undeployed": name})
    else:
        print(f"undeployed {name}")


def models(
    delete: Annotated[
        str, typer.Option("--delete", metavar="ID", help="Delete one that is not deployed.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Delete one that has made decisions, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the models that were deployed once."""
    with installation(None) as masthead:
        if delete:
            masthead.fraud.delete_model(delete, force=force)
        rows = masthead.fraud.models()
    if as_json:
        print_json(rows)
    else:
        columns = (("Id", "id"), ("Deployed as", "deployed"), ("Made", "created"))
        print_table(columns, rows, empty="There is no model yet.")


def spaces(
    delete: Annotated[
        str, typer.Option("--delete", metavar="NAME", help="Delete one that no deployment scores.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List where transactions lie, with how many there are: `live`, others of loads and deployments, simulations."""
    with installation(None) as masthead:
        if delete:
            masthead.fraud.delete_space(delete)
        rows = [one.to_json() for one in masthead.fraud.spaces(counted=True)]
    if as_json:
        print_json(rows)
    else:
        columns = (("Name", "name"), ("Kind", "kind"), ("Transactions", "transactions"), ("Made", "created"))
        print_table(columns, rows, empty="There is no space yet.")


def transactions(
    flagged: Flagged = False,
    start: Since = None,
    end: Until = None,
    limit: Limit = 20,
    space: Space = "live",
    as_json: AsJson = False,
) -> None:
    """List stored transactions, newest first, with what was decided and what was said of them later."""
    found: list[dict[str, Any]] = []
    token: str | None = ""
    with installation(None) as masthead:
        while token is not None and (len(found) < limit or not found):
            page = masthead.fraud.find(
                space=space,
                flagged=True if flagged else None,
                start=micros(start, 0),
                end=micros(end, FOREVER_US),
                limit=limit - len(found),
                token=token,
                explain=as_json,  # a table has no room for reasons
            )
            found += page.items
            token = page.next_token
    if as_json:
        print_json(found)
        return
    rows = [
        {name: one[name] for name in ("id", "time", "amount", "label")}
        | {name: (one["decision"] or {}).get(name) for name in ("pred_prob", "action")}
        for one in found
    ]
    titles = (("Id", "id"), ("Time", "time"), ("Amount", "amount"), ("Probability", "pred_prob"))
    print_table(
        (*titles, ("Action", "action"), ("Label", "label")), rows, empty="There is no transaction yet."
    )


def micros(moment: datetime | None, otherwise: int) -> int:
    from datetime import UTC

    return otherwise if moment is None else round(moment.replace(tzinfo=UTC).timestamp() * 1e6)


def label(data: Marks, source: Source = "import", space: Space = "live", as_json: AsJson = False) -> None:
    """Take labels from a file; each counts from when it arrived. Exit status 1 when a row could not be taken."""
    with installation(None) as masthead:
        try:
            found = masthead.fraud.label_file(data, source=source, space=space)
        except InvalidInput as error:
            raise renamed(error, {"labels": "data"}) from error  # as the option is called here
    answer(found, as_json=as_json, told=_tell_labels)
    if found["refused"]:
        raise typer.Exit(OTHER)


def _tell_labels(found: dict[str, Any]) -> None:
    print_fields({name: value for name, value in found.items() if name != "problems"})
    columns = (("Row", "row"), ("File", "file"), ("Column", "column"), ("Reason", "reason"))
    print_table(columns, found["problems"], empty="Every row was taken.")


def erase(entity: Entity, space: Space = "live", as_json: AsJson = False) -> None:
    """Erase every transaction of an entity, say of one customer, with its decisions and labels."""
    relation, equals, value = entity.partition("=")
    if not equals or not relation or not value:
        raise InvalidInput(f"entity: expected REL=VALUE, say card1=13926, got {shown(entity)}")
    with installation(None) as masthead:
        found = masthead.fraud.erase(relation, value, space=space)
    answer(found, as_json=as_json)
