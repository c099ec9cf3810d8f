"""`masthead fraud pipeline | retrain`: from files to an endpoint, step by step, and what became of it."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masthead.base.errors import Conflict, InvalidInput, LimitReached
from masthead.cli.documents import read_document
from masthead.cli.grammar import new_room
from masthead.cli.installation import INVALID, OTHER, AsJson, Data, Name, installation
from masthead.cli.output import print_json, print_table
from masthead.cli.progress import follow

if TYPE_CHECKING:
    from masthead.app import Masthead

_LOOK_S = 0.2
_ENDED = ("done", "failed", "cancelled", "interrupted")
_UNBEGUN_S = 10.0  # so long a run of this very process may still be seen as not begun

Run = Annotated[str, typer.Argument(metavar="[RUN]", show_default=False, help="By default the newest.")]
OneRun = Annotated[str, typer.Argument(metavar="RUN", show_default=False)]
Detach = Annotated[
    bool, typer.Option("--detach", help="Return at once; only where a server runs, which goes on with it.")
]

app = new_room("The pipeline: from files to an endpoint, in steps that survive kill -9.")


def add(room: typer.Typer) -> None:
    """Add the group to the room's, and the command that begins a run without a file."""
    room.add_typer(app, name="pipeline")
    room.command("retrain")(retrain)


@app.command("start")
def start(
    config: Annotated[
        Path,
        typer.Option(
            "--config", metavar="FILE", help="TOML or JSON; relative paths are seen from its folder."
        ),
    ],
    detach: Detach = False,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Begin a run and follow it to its end; without a server this command does the work itself."""
    document = read_document(config)
    folder = Path.cwd() if str(config) == "-" else config.absolute().parent
    with installation(data) as masthead:
        _require_server(masthead, detach)
        found = masthead.pipelines.start(document, folder=folder, by_owner=True)
        _go_on(masthead, found["id"], detach=detach, as_json=as_json)


@app.command("status")
def status(run: Run = "", as_json: AsJson = False, data: Data = None) -> None:
    """Show a run with its steps: what is done, what each found, how far the one under way is."""
    with installation(data) as masthead:
        found = masthead.pipelines.get(run)
    _tell(found, as_json=as_json)


@app.command("log")
def log(
    run: OneRun,
    step: Annotated[str, typer.Argument(metavar="STEP", show_default=False)],
    data: Data = None,
) -> None:
    """Print what a step printed while it ran."""
    with installation(data) as masthead:
        print(masthead.pipelines.log(run, step), end="")


@app.command("resume")
def resume(run: Run = "", detach: Detach = False, as_json: AsJson = False, data: Data = None) -> None:
    """Let a run go on behind its last finished step, after a failure, a cancel or a kill."""
    with installation(data) as masthead:
        _require_server(masthead, detach)
        found = masthead.pipelines.resume(run)
        _go_on(masthead, found["id"], detach=detach, as_json=as_json)


@app.command("cancel")
def cancel(run: Run = "", as_json: AsJson = False, data: Data = None) -> None:
    """End a run of the server; `resume` lets it go on."""
    with installation(data) as masthead:
        found = masthead.pipelines.cancel(run)
    _tell(found, as_json=as_json)


@app.command("list")
def list_runs(as_json: AsJson = False, data: Data = None) -> None:
    """List every run, the newest first."""
    with installation(data) as masthead:
        rows = masthead.pipelines.list()
    if as_json:
        print_json(rows)
        return
    columns = (
        ("Run", "id"),
        ("State", "state"),
        ("Step", "step"),
        ("Attempt", "attempt"),
        ("Error", "error"),
    )
    print_table(columns, rows, empty="There was no run yet.")


@app.command("delete")
def delete(run: OneRun, as_json: AsJson = False, data: Data = None) -> None:
    """Remove a run with what its steps left; its model and its endpoint stay."""
    with installation(data) as masthead:
        masthead.pipelines.delete(run)
    if as_json:
        print_json({"deleted": run})
    else:
        print(f"deleted run {run}")


def retrain(
    name: Name,
    trials: Annotated[
        int, typer.Option("--trials", metavar="N", help="How many of the learner's parameters are tried.")
    ] = 0,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Learn anew from what is stored; the model becomes NAME-challenger. A run of the pipeline, resumed like one."""
    with installation(None) as masthead:
        _require_server(masthead, detach)
        found = masthead.pipelines.retrain(name, trials=trials)
        _go_on(masthead, found["id"], detach=detach, as_json=as_json)


def _require_server(masthead: "Masthead", detach: bool) -> None:
    if detach and masthead.folder.served_by() is None:
        raise Conflict("detach: no server runs that could go on with it; leave --detach out, or start one")


def _go_on(masthead: "Masthead", id: str, *, detach: bool, as_json: bool) -> None:
    """Have a run done, by the server if there is one, and follow it."""
    if masthead.folder.served_by() is None:
        masthead.pipelines.run_here(id)
    else:
        from masthead.cli.addresses import let_server_follow

        let_server_follow(masthead.settings.data)  # else it looks within a second
    if not detach:
        follow(lambda: _steps(masthead, id), id)
    found = masthead.pipelines.get(id)
    _tell(found, as_json=as_json)
    if found["state"] in ("failed", "cancelled", "interrupted"):
        raise typer.Exit(INVALID if found["code"] == InvalidInput.code else OTHER)


def _steps(masthead: "Masthead", id: str) -> Iterator[tuple[None, float | None, str]]:
    begun = time.monotonic()
    while True:
        found = masthead.pipelines.get(id)
        done = sum(step["state"] == "done" for step in found["steps"])
        progress = found["progress"]
        part = progress["done"] / progress["total"] if progress.get("total") else 0.0
        text = f"{found['step'] or found['state']} {progress.get('message', '')}".strip()
        yield None, (done + min(part, 1.0)) / len(found["steps"]), text
        # A job that ends tells so a moment after it has let go of the run.
        if found["state"] in _ENDED and (
            found["state"] != "interrupted" or time.monotonic() - begun > _UNBEGUN_S
        ):
            return
        time.sleep(_LOOK_S)


def _tell(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    print(f"{found['id']}: {found['state']}")
    rows = [
        {**step, "found": _short(step, found["progress"] if step["name"] == found["step"] else {})}
        for step in found["steps"]
    ]
    columns = (("Step", "name"), ("State", "state"), ("Seconds", "seconds"), ("Found", "found"))
    print_table(columns, rows, empty="")
    if found["error"]:
        print(f"failed in {found['step']}: {found['error']}")
    if found["resume"]:
        print(f"go on with: {found['resume']}")
    elif found["state"] == "failed":
        config = found["config"]
        again = f"retrain {config['challenges']}" if config["live"] else "pipeline start --config FILE"
        if found["code"] == LimitReached.code:
            advice = f"limits and would reach this one again; set a higher limits_s.{found['step']}"
        else:
            advice = "parameters and its data and would fail again; mend them"
        print(f"it keeps its {advice} and begin another run: masthead fraud {again}")


_SHOWN = (
    *("skipped", "rows", "matched", "transactions", "positives", "loaded", "repeated", "refused", "labels"),
    *("bytes", "model", "endpoint", "action", "script", "metrics", "largest_difference"),
)


def _short(step: dict[str, Any], progress: dict[str, Any]) -> str:
    output = step["output"]
    if output is None:
        return str(progress.get("message", ""))
    return ", ".join(
        f"{output[name]}" if name == "skipped" else f"{name} {output[name]}"
        for name in _SHOWN
        if output.get(name) not in (None, "", {})
    )
