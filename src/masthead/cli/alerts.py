"""`masthead alerts`: who hears of what, and whether it arrived."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from masthead.cli.documents import read_document
from masthead.cli.grammar import Noun, add_create, add_verbs, answer, new_room
from masthead.cli.installation import AsJson, Data, Message, Name, installation, warn
from masthead.cli.output import print_json, print_table
from masthead.cli.rooms import ROOMS

if TYPE_CHECKING:
    from masthead.alerts.rules import AlertRule
    from masthead.app import Masthead

app = new_room(ROOMS["alerts"])
add_create(app, "alert rule", lambda masthead, given: _created(masthead, given))
add_verbs(
    app,
    Noun(
        word="alert rule",
        columns=(
            ("Name", "name"),
            ("Detector", "detector"),
            ("Threshold", "threshold"),
            ("Measures", "measures"),
            ("Channel", "channel"),
            ("Form", "form"),
            ("Enabled", "enabled"),
        ),
        listed=lambda masthead: masthead.alerts.list_rules(),
        got=lambda masthead, name: _Checked(masthead, masthead.alerts.get_rule(name)),
        deleted=lambda masthead, name: masthead.alerts.delete_rule(name),
    ),
)


class _Checked:
    """An alert rule with its warnings, as the API gives it."""

    def __init__(self, masthead: "Masthead", rule: "AlertRule") -> None:
        self.rule, self.warnings = rule, masthead.alert_warnings(rule)

    def to_json(self) -> dict[str, Any]:
        return self.rule.to_json() | {"warnings": self.warnings}


def _created(masthead: "Masthead", given: dict[str, Any]) -> _Checked:
    """Create a rule and tell what it is about and does not exist: it may be made before its detector."""
    made = _Checked(masthead, masthead.alerts.create_rule(given))
    for line in made.warnings:
        warn(f"{line}; the rule {made.rule.name} is kept")
    return made


@app.command("test")
def try_one(name: Name, message: Message = None, as_json: AsJson = False, data: Data = None) -> None:
    """Send a message that is marked as a test, and say how it ended.

    With --message it is about the event in the file: any of its fields, the others as without. One that the rule does
    not tell is not sent, and the reason is told.
    """
    event = read_document(message) if message else None
    with installation(data) as masthead:
        sent = masthead.alerts.test_rule(name, event)
    answer(sent, as_json=as_json)
    if sent.state != "delivered":
        raise typer.Exit(1)


@app.command("deliveries")
def deliveries(
    rule: Annotated[str | None, typer.Option("--rule", metavar="NAME", help="Of this rule only.")] = None,
    state: Annotated[
        str | None, typer.Option("--state", help="pending, delivered, undelivered or unheard only.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", help="At most so many, 1 to 1000.")] = 100,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """List what was told and what waits, the newest first."""
    with installation(data) as masthead:
        rows = [one.to_json() for one in masthead.alerts.deliveries(rule, state, limit).items]
    if as_json:
        print_json(rows)
        return
    columns = (
        ("Id", "id"),
        ("Rule", "rule"),
        ("Detector", "detector"),
        ("Measure", "measure"),
        ("Severity", "severity"),
        ("Stage", "stage"),
        ("State", "state"),
        ("Tries", "tries"),
        ("Created", "created"),
        ("Last error", "last_error"),
    )
    print_table(columns, rows, empty="Nothing was told yet.")


@app.command("retry")
def retry(
    key: Annotated[str, typer.Argument(metavar="ID", show_default=False)],
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Try an undelivered alert again."""
    with installation(data) as masthead:
        answer(masthead.alerts.retry(key), as_json=as_json)
