"""`masthead alerts`: who hears of what, and whether it arrived."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from masthead.cli.grammar import Noun, add_create, add_verbs, answer, new_room
from masthead.cli.installation import AsJson, Data, Name, installation, warn
from masthead.cli.output import print_json, print_table

if TYPE_CHECKING:
    from masthead.alerts.rules import AlertRule
    from masthead.app import Masthead

app = new_room("Alert rules: who hears of which anomalies, through which channel.")
add_create(app, "alert rule", lambda masthead, given: _checked(masthead, masthead.alerts.create_rule(given)))
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
        got=lambda masthead, name: _checked(masthead, masthead.alerts.get_rule(name)),
        deleted=lambda masthead, name: masthead.alerts.delete_rule(name),
    ),
)


class _Checked:
    """An alert rule with its warnings, which the API gives, too."""

    def __init__(self, rule: "AlertRule", warnings: list[str]) -> None:
        self._rule, self._warnings = rule, warnings

    def to_json(self) -> dict[str, Any]:
        return self._rule.to_json() | {"warnings": self._warnings}


def _checked(masthead: "Masthead", rule: "AlertRule") -> _Checked:
    """Tell on standard error what a rule is about and does not exist: it may be made before its detector."""
    found = masthead.alert_warnings(rule)
    for line in found:
        warn(f"{line}; the rule {rule.name} is kept")
    return _Checked(rule, found)


@app.command("test")
def try_one(name: Name, as_json: AsJson = False, data: Data = None) -> None:
    """Send a message that is marked as a test, and say how it ended."""
    with installation(data) as masthead:
        sent = masthead.alerts.test_rule(name)
    answer(sent, as_json=as_json)
    if sent.state != "delivered":
        raise typer.Exit(1)


@app.command("deliveries")
def deliveries(
    rule: Annotated[str | None, typer.Option("--rule", metavar="NAME", help="Of this rule only.")] = None,
    state: Annotated[
        str | None, typer.Option("--state", help="pending, delivered or undelivered only.")
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
