"""The commands: `masthead demo [air]` runs the story, `masthead demo clean` removes what it made."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from masthead.base.errors import InvalidInput, shown
from masthead.cli.rooms import ROOMS

DEFAULT_DATA = Path("masthead-demo")
DEFAULT_SPEED = "1440"  # a day of readings in a minute
_FASTEST = 10_000


class _AirByDefault(TyperGroup):
    """`masthead demo` and `masthead demo --exit` mean `masthead demo air`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        asks_help = bool(args) and args[0] in ("-h", "--help")
        if not asks_help and (not args or args[0].startswith("-")):
            args = ["air", *args]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


app = typer.Typer(
    cls=_AirByDefault,
    help=ROOMS["demo"],
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="The demonstration's own folder.")]


@app.command()
def air(
    speed: Annotated[
        str, typer.Option("--speed", metavar="N|max", help="How many times faster than real time.")
    ] = DEFAULT_SPEED,
    leave: Annotated[bool, typer.Option("--exit", help="End when the story is told.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    data: Data = DEFAULT_DATA,
    port: Annotated[
        int | None, typer.Option("--port", help="Port of the console. [default: 8400, or a free one]")
    ] = None,
    aws_port: Annotated[
        int | None, typer.Option("--aws-port", help="Port of the AWS wire. [default: 8401, or a free one]")
    ] = None,
    mqtt_port: Annotated[
        int | None, typer.Option("--mqtt-port", help="Port of MQTT over TLS. [default: 8883, or a free one]")
    ] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Do not open the console in a browser.")
    ] = False,
) -> None:
    """An air-quality station publishes two days of readings, the planted anomalies are found, a webhook hears of them.

    Exit status 0 only when an alert of each planted anomaly arrived.
    """
    factor = _factor(speed)
    from masthead.cli.demo.air import Wishes, run

    told = run(
        Wishes(
            data=data,
            factor=factor,
            leave=leave,
            as_json=as_json,
            port=port,
            aws_port=aws_port,
            mqtt_port=mqtt_port,
            browser=not (no_browser or as_json or leave),
        )
    )
    if not told:
        raise typer.Exit(1)


@app.command()
def clean(data: Data = DEFAULT_DATA) -> None:
    """Remove what a demonstration made in its folder, and nothing else."""
    from masthead.cli.demo.folder import clean as clean_folder

    removed = clean_folder(data)
    left = f"; {data} stays, since it holds other files" if data.exists() else ""
    print(f"removed {data}: {', '.join(removed)}{left}")


def _factor(speed: str) -> float | None:
    """Return how many times faster; None = as fast as the readings can be used."""
    if speed == "max":
        return None
    try:
        factor = float(speed)
    except ValueError:
        factor = 0.0
    if not 1 <= factor <= _FASTEST:
        raise InvalidInput(f"speed: expected 1 to {_FASTEST} or max, got {shown(speed)}")
    return factor
