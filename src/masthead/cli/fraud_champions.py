"""`masthead fraud drift | promote`: how well a deployment still fits, and what takes its place."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from masthead.cli.installation import AsJson, Name, installation
from masthead.cli.output import cell, print_fields, print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["add"]

_SHOWN = 15

Days = Annotated[
    int, typer.Option("--days", metavar="N", help="Of the window before the newest transaction.")
]
Challenger = Annotated[
    str, typer.Option("--challenger", metavar="NAME", help="Which; not given: the newest that challenges it.")
]
IfBetter = Annotated[
    bool, typer.Option("--if-better", help="Only if it ranks better by more than one standard error.")
]


def add(app: typer.Typer) -> None:
    """Add the commands to `masthead fraud`."""
    for name, command in (("drift", drift), ("promote", promote)):
        app.command(name)(command)


def drift(name: Name, days: Days = 7, as_json: AsJson = False) -> None:
    """Show how far the newest transactions have moved from those that taught the model, and how it still ranks."""
    with installation(None) as masthead:
        found = masthead.fraud.drift(name, days=days)
    if as_json:
        print_json(found)
        return
    window, matured = found["window"], found["matured"]
    print(
        f"{name}: {found['model']}, {window['transactions']:,} transactions of {days} days until {cell(window['until'])}"
    )
    print(
        f"{matured['transactions']:,} transactions of {cell(matured['from'])} to {cell(matured['until'])} are matured"
    )
    print_fields(
        {
            **{key: matured[key] for key in ("positives", "average_precision", "precision_at_100_per_day")},
            "validation_average_precision": matured["validation_average_precision"],
            "late_share": found["late_share"],
        }
    )
    indices = [("score", found["score"])] if found["score"] is not None else []
    rows = [
        {"name": each, "psi": f"{index:.3f}", "moved": "moved" if each in found["moved"] else ""}
        for each, index in [*indices, *list(found["features"].items())[:_SHOWN]]
    ]
    columns = (("Column", "name"), ("PSI", "psi"), ("", "moved"))
    print_table(columns, rows, empty="No transaction of this window was scored by the model.")
    unseen = [
        {"name": each, "share": "" if share is None else f"{100 * share:.1f} %"}
        for each, share in found["unseen_share"].items()
    ]
    print_table((("Relation", "name"), ("Never seen before", "share")), unseen, empty="")


def promote(
    name: Name, challenger: Challenger = "", if_better: IfBetter = False, as_json: AsJson = False
) -> None:
    """Let the challenger of a deployment take its place; the former model then scores along in the challenger's."""
    with installation(None) as masthead:
        found = masthead.fraud.promote(name, challenger=challenger, if_better=if_better)
    if as_json:
        print_json(found)
        return
    print(_said(found))
    print_fields(
        {
            key: found[key]
            for key in ("transactions", "positives", "days", "average_precision", "standard_error")
        }
    )


def _said(found: "Mapping[str, Any]") -> str:
    models = found["models"]
    if found["promoted"]:
        return (
            f"{found['deployment']}: {models['challenger']} decides from now on; {models['champion']} scores along as "
            f"{found['challenger']}"
        )
    return f"{found['deployment']}: {models['champion']} goes on deciding; {found['challenger']} has not proved better"
