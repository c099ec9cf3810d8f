"""The commands: `masthead demo [all|air|fraud]` tells the stories, `masthead demo clean` removes what they made."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from masthead.base.errors import InvalidInput, shown
from masthead.cli.rooms import ROOMS

DEFAULT_DATA = Path("masthead-demo")
DEFAULT_SPEED = "1440"  # a day of readings in a minute
_FASTEST = 10_000


class _AllByDefault(TyperGroup):
    """`masthead demo` and `masthead demo --exit` mean `masthead demo all`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        asks_help = bool(args) and args[0] in ("-h", "--help")
        if not asks_help and (not args or args[0].startswith("-")):
            args = ["all", *args]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


app = typer.Typer(
    cls=_AllByDefault,
    help=ROOMS["demo"],
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="The demonstration's own folder.")]
Speed = Annotated[str, typer.Option("--speed", metavar="N|max", help="How many times faster than real time.")]
Leave = Annotated[bool, typer.Option("--exit", help="End when the story is told.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Port = Annotated[
    int | None, typer.Option("--port", help="Port of the console. [default: 8400, or a free one]")
]
AwsPort = Annotated[
    int | None, typer.Option("--aws-port", help="Port of the AWS wire. [default: 8401, or a free one]")
]
MqttPort = Annotated[
    int | None, typer.Option("--mqtt-port", help="Port of MQTT over TLS. [default: 8883, or a free one]")
]
NoBrowser = Annotated[bool, typer.Option("--no-browser", help="Do not open the console in a browser.")]


@app.command("all")
def all_stories(
    speed: Speed = DEFAULT_SPEED,
    leave: Leave = False,
    as_json: AsJson = False,
    data: Data = DEFAULT_DATA,
    port: Port = None,
    aws_port: AwsPort = None,
    mqtt_port: MqttPort = None,
    no_browser: NoBrowser = False,
) -> None:
    """Tell the story of the air, then that of the payments, in one installation.

    Exit status 0 only when both came out as they should.
    """
    _tell(("air", "fraud"), _factor(speed), leave, as_json, data, (port, aws_port, mqtt_port), no_browser)


@app.command()
def air(
    speed: Speed = DEFAULT_SPEED,
    leave: Leave = False,
    as_json: AsJson = False,
    data: Data = DEFAULT_DATA,
    port: Port = None,
    aws_port: AwsPort = None,
    mqtt_port: MqttPort = None,
    no_browser: NoBrowser = False,
) -> None:
    """An air-quality station publishes two days of readings, the planted anomalies are found, a webhook hears of them.

    Exit status 0 only when an alert of each planted anomaly arrived.
    """
    _tell(("air",), _factor(speed), leave, as_json, data, (port, aws_port, mqtt_port), no_browser)


@app.command()
def fraud(
    leave: Leave = False,
    as_json: AsJson = False,
    data: Data = DEFAULT_DATA,
    port: Port = None,
    aws_port: AwsPort = None,
    mqtt_port: MqttPort = None,
    no_browser: NoBrowser = False,
) -> None:
    """Made-up payments teach a model in seconds, then stream through it while rings appear and are caught.

    Exit status 0 only when rings appeared, most of them were caught, and half of the frauds were flagged.
    """
    _tell(("fraud",), 1.0, leave, as_json, data, (port, aws_port, mqtt_port), no_browser)


def _tell(
    chapters: tuple[str, ...],
    factor: float | None,
    leave: bool,
    as_json: bool,
    data: Path,
    ports: tuple[int | None, int | None, int | None],
    no_browser: bool,
) -> None:
    from masthead.cli.demo.air import Wishes, run

    wishes = Wishes(
        data=data,
        factor=factor,
        leave=leave,
        as_json=as_json,
        port=ports[0],
        aws_port=ports[1],
        mqtt_port=ports[2],
        browser=not (no_browser or as_json or leave),
        chapters=chapters,
    )
    if not run(wishes):
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
