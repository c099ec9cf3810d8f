"""`masthead detectors groups`: the anomalies found, and a person's word on them."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from masthead.base.clock import read_time
from masthead.base.errors import InvalidInput
from masthead.base.units import parse_duration_s
from masthead.cli.grammar import new_room
from masthead.cli.installation import AsJson, Data, Name, installation
from masthead.cli.output import print_json, print_table
from masthead.cli.portraits import tell_group

app = new_room("Anomaly groups: series of one measure that were anomalous together.")
GroupId = Annotated[str, typer.Argument(metavar="GROUP", help="Id of an anomaly group.", show_default=False)]


def add_former_names(detectors: typer.Typer) -> None:
    """Keep `detectors ack`, `mute`, `feedback` and `export`, as they were called first; help does not show them."""
    for verb in (export, feedback, ack, mute):
        detectors.command(verb.__name__, hidden=True)(verb)


@app.command("list")
def list_groups(
    detector: Annotated[
        str | None, typer.Argument(metavar="[DETECTOR]", help="Of this detector only.", show_default=False)
    ] = None,
    min_severity: Annotated[float, typer.Option("--min-severity", help="Lowest severity, 0 to 100.")] = 70.0,
    measure: Annotated[str | None, typer.Option("--measure", help="Of this measure only.")] = None,
    start: Annotated[str | None, typer.Option("--start", help="From this ISO 8601 time on.")] = None,
    end: Annotated[str | None, typer.Option("--end", help="Before this ISO 8601 time.")] = None,
    limit: Annotated[int, typer.Option("--limit", help="At most so many, 1 to 1000.")] = 100,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """List anomaly groups, the newest first."""
    with installation(data) as masthead:
        page = masthead.metrics.list_groups(
            detector,
            min_severity=min_severity,
            measure=measure,
            start=read_time(start, "start"),
            end=read_time(end, "end"),
            limit=limit,
        )
    rows = [one.to_json() for one in page.items]
    if as_json:
        print_json(rows)
        return
    columns = (
        ("Id", "id"),
        ("Detector", "detector"),
        ("Start", "start"),
        ("End", "end"),
        ("Measure", "measure"),
        ("Severity", "severity"),
        ("State", "state"),
        ("Reason", "reason"),
        ("Contributions", "contributions"),
    )
    print_table(columns, rows, empty=f"There is no anomaly of severity {min_severity:g} or more.")
    if page.next_token:
        print(f"More follow; the list was cut at {limit} (--limit).")


@app.command("show")
def show_group(group: GroupId, as_json: AsJson = False, data: Data = None) -> None:
    """Show one group with its series and what moved beside it."""
    with installation(data) as masthead:
        found = masthead.metrics.get_group(group).to_json()
        found["series"] = masthead.metrics.group_series(group)
        found["related"] = [one.to_json() for one in masthead.metrics.related(group)]
    if as_json:
        print_json(found)
    else:
        tell_group(found)


@app.command("feedback")
def feedback(
    group: GroupId,
    is_anomaly: Annotated[
        bool, typer.Option("--anomaly/--no-anomaly", help="Whether it is one.", show_default=False)
    ],
    dimensions: Annotated[
        list[str] | None,
        typer.Option(
            "--dimension", metavar="NAME=VALUE", help="Only the series with these values; repeatable."
        ),
    ] = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Tell whether a group, or one of its series, is an anomaly; later severities follow."""
    from masthead.metrics.spec import dimension_values

    series = {"dimensions": dimension_values(dimensions)} if dimensions else None
    with installation(data) as masthead:
        given = masthead.metrics.give_feedback(group, series=series, is_anomaly=is_anomaly)
    rows = given if isinstance(given, list | tuple) else [given]
    if as_json:
        print_json([one.to_json() if hasattr(one, "to_json") else one for one in rows])
    else:
        print("noted: an anomaly" if is_anomaly else "noted: not an anomaly")


@app.command("ack")
def ack(group: GroupId, as_json: AsJson = False, data: Data = None) -> None:
    """Acknowledge a group."""
    with installation(data) as masthead:
        found = masthead.metrics.acknowledge_group(group)
    print_json(found.to_json()) if as_json else print(f"acknowledged {group}")


@app.command("mute")
def mute(
    group: GroupId,
    until: Annotated[str | None, typer.Option("--until", help="An ISO 8601 time.")] = None,
    duration: Annotated[str | None, typer.Option("--for", metavar="2h", help="Or a duration.")] = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Keep a group from alerting until a time."""
    if (until is None) == (duration is None):
        raise InvalidInput("until: expected either --until TIME or --for DURATION")
    moment = read_time(until, "until")
    with installation(data) as masthead:
        if moment is None:
            moment = masthead.clock.now() + timedelta(seconds=parse_duration_s(str(duration), "for"))
        found = masthead.metrics.mute_group(group, moment)
    print_json(found.to_json()) if as_json else print(f"muted {group} until {moment.isoformat()}")


@app.command("unmute")
def unmute(group: GroupId, as_json: AsJson = False, data: Data = None) -> None:
    """Let a muted group alert again."""
    with installation(data) as masthead:
        found = masthead.metrics.mute_group(group, None)
    print_json(found.to_json()) if as_json else print(f"unmuted {group}")


@app.command("export")
def export(
    name: Name,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="F", help="Default: standard output.")
    ] = None,
    data: Data = None,
) -> None:
    """Write every anomaly group of a detector as CSV."""
    with installation(data) as masthead:
        text = masthead.metrics.export_groups(name)
    if file is None:
        print(text, end="")
        return
    try:
        file.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise InvalidInput(f"file: cannot write {file}: {error.strerror or error}") from error
