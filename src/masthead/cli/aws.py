"""`masthead aws`: what AWS's own clients need on their side."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from masthead.cli.grammar import new_room
from masthead.cli.rooms import ROOMS

app = new_room(ROOMS["aws"])
models = new_room("Models of the services that AWS has retired.")
app.add_typer(models, name="models")
_PAGE = "docs/aws-coverage.md"


@models.command()
def install() -> None:
    """Write both retired services' models to ~/.aws/models, where every boto3 and AWS CLI looks.

    A newer boto3 has lost `lookoutmetrics` and `privatenetworks`; with these files it has them again.
    """
    from masthead.aws.models import RETIRED, read_model, retired_files
    from masthead.base.folder import write_atomic

    for name in RETIRED:
        folder = Path.home() / ".aws" / "models" / name / read_model(name)["metadata"]["apiVersion"]
        folder.mkdir(parents=True, exist_ok=True)
        for source in retired_files(name):
            if source.name != "examples-1.json":
                write_atomic(folder / source.name, source.read_bytes())
        print(folder / "service-2.json")


@app.command()
def coverage(
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Compare the page of the docs with the results; exit status 1 when not."
        ),
    ] = False,
) -> None:
    """Print which operations AWS's clients have run, from the results of the tests, as the page of the docs."""
    from masthead.aws.coverage import page, problems, read_results

    rows = read_results()
    text = page(rows)
    if not check:
        print(text, end="")
        return
    told = problems(rows) + _differences(text)
    for one in told:
        print(one, file=sys.stderr)
    if told:
        raise typer.Exit(1)
    print(f"{len(rows)} operations: {_PAGE} and the results agree")


def _differences(text: str) -> list[str]:
    """Return how the page beside the sources differs from what it should be."""
    path = Path(__file__).parents[3] / _PAGE
    if not path.exists():
        return [f"{_PAGE}: there is no such file beside the sources"]
    if path.read_text() == text:
        return []
    return [f"{_PAGE}: differs from the results; write it with: masthead aws coverage > {_PAGE}"]
