"""`masthead aws`: what AWS's own clients need on their side."""

from pathlib import Path

from masthead.cli.grammar import new_room

app = new_room("AWS clients: what they need to know of Masthead.")
models = new_room("Models of the services that AWS has retired.")
app.add_typer(models, name="models")


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
