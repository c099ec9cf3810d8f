"""`masthead fraud run-script`: a training script of SageMaker's contract on this machine."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from masthead.base.errors import InvalidInput, shown
from masthead.cli.documents import read_document
from masthead.cli.installation import AsJson, as_typed
from masthead.cli.output import print_json


def add(app: typer.Typer) -> None:
    """Add the command to a group."""
    app.command("run-script")(run_script)


def run_script(
    entry_point: Annotated[
        str,
        typer.Option("--entry-point", metavar="FILE", help="The script, a .py or .sh in the source folder."),
    ],
    model_dir: Annotated[
        Path, typer.Option("--model-dir", metavar="DIR", help="Where its model goes; empty or not there yet.")
    ],
    source_dir: Annotated[
        Path | None,
        typer.Option(
            "--source-dir",
            metavar="DIR",
            help="Copied; the script works in the copy. Without it the script is copied alone.",
        ),
    ] = None,
    channel: Annotated[
        list[str] | None,
        typer.Option("--channel", metavar="NAME=PATH", help="A file or folder of data; may be repeated."),
    ] = None,
    hyperparameters: Annotated[
        str, typer.Option("--hyperparameters", metavar="JSON", help="An object, or a file that holds one.")
    ] = "{}",
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric", metavar="NAME=REGEX", help="A number to look for in what it prints; one group."
        ),
    ] = None,
    python: Annotated[
        str, typer.Option("--python", metavar="PATH", help="The interpreter; by default Masthead's own.")
    ] = "",
    limit_s: Annotated[
        float, typer.Option("--limit-s", help="After so many seconds it is ended.")
    ] = 86_400.0,
    base_dir: Annotated[
        Path | None,
        typer.Option(
            "--base-dir", metavar="DIR", help="Where it works, kept; by default removed at the end."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a training script as SageMaker's containers do; its output goes to standard error, its model to DIR."""
    from masthead.learn.scripts import Script
    from masthead.learn.scripts import run_script as run

    script = Script(
        entry_point=entry_point,
        source_dir=source_dir,
        channels={name: Path(path) for name, path in _pairs("channel", channel or ()).items()},
        hyperparameters=_object(hyperparameters),
        model_dir=model_dir,
        python=python,
        metrics=_pairs("metric", metric or ()),
        limit_s=limit_s,
    )
    with as_typed("entry_point", "source_dir", "model_dir", "python", "metric"):
        found = run(script, base=base_dir, told=lambda line: print(line, file=sys.stderr))
    if as_json:
        print_json({**found.to_json(), "model_dir": str(model_dir)})
        return
    told = "".join(f", {name} {value:g}" for name, value in found.metrics.items())
    print(f"{entry_point} made {len(found.files)} files in {model_dir}{told}")


def _pairs(field: str, given: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in given:
        name, sign, value = one.partition("=")
        if not sign or not name or not value or name in found:
            raise InvalidInput(f"{field}: expected NAME=VALUE, each name once, got {shown(one)}")
        found[name] = value
    return found


def _object(text: str) -> dict[str, Any]:
    if not text.lstrip().startswith("{"):
        return read_document(Path(text))
    try:
        found: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"hyperparameters: expected a JSON object, got {shown(text)}: {error}") from error
    return found
