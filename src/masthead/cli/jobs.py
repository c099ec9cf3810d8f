"""`masthead jobs`: the long jobs of every room: what runs, what it has done, and how to end it."""

from masthead.cli.grammar import answer, new_room
from masthead.cli.installation import AsJson, Data, Name, installation
from masthead.cli.output import print_json, print_table
from masthead.cli.rooms import ROOMS

app = new_room(ROOMS["jobs"])


@app.command("list")
def list_jobs(as_json: AsJson = False, data: Data = None) -> None:
    """List the latest 100 jobs, the newest first."""
    with installation(data) as masthead:
        rows = [one.to_json() for one in masthead.flows.list()]
    if as_json:
        print_json(rows)
        return
    shown = [row | {"of": ", ".join(map(str, row["args"].values())), "text": _text(row)} for row in rows]
    columns = (
        ("Id", "id"),
        ("Job", "name"),
        ("Of", "of"),
        ("State", "state"),
        ("Started", "created"),
        ("Progress", "text"),
    )
    print_table(columns, shown, empty="There was no job yet.")


@app.command("show")
def show(name: Name, as_json: AsJson = False, data: Data = None) -> None:
    """Show one job with its finished steps; `masthead logs job NAME` prints its log."""
    with installation(data) as masthead:
        answer(masthead.flows.get(name), as_json=as_json)


@app.command("cancel")
def cancel(name: Name, as_json: AsJson = False, data: Data = None) -> None:
    """End a job; its detector is stopped, and what the job had found is removed."""
    with installation(data) as masthead:
        found = masthead.cancel_job(name)
    if as_json:
        print_json(found.to_json())
    else:
        print(f"cancelled job {name}")


def _text(row: dict[str, object]) -> str:
    progress = row["progress"]
    told = progress.get("text", "") if isinstance(progress, dict) else ""
    return str(row["error"] or told)
