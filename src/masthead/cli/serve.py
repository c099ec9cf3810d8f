"""`masthead serve`: the server, with every option that starts it."""

import contextlib
import sys
from typing import TYPE_CHECKING, Annotated, Any, TextIO, cast

import typer

from masthead.base.errors import InvalidInput
from masthead.cli.installation import Data, settings
from masthead.cli.output import print_json_line

if TYPE_CHECKING:
    from masthead.access.keys import NewKey
    from masthead.server import Addresses


def mount(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def serve(
    data: Data = None,
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on. [127.0.0.1]")] = None,
    port: Annotated[
        int | None, typer.Option("--port", help="Console and native API; 0: any free port. [8400]")
    ] = None,
    aws_port: Annotated[
        int | None, typer.Option("--aws-port", help="AWS wire API; 0: any free port. [8401]")
    ] = None,
    mqtt_port: Annotated[
        int | None, typer.Option("--mqtt-port", help="MQTT over TLS; 0: any free port. [8883]")
    ] = None,
    mqtt_plain: Annotated[
        bool | None, typer.Option("--mqtt-plain", help="Open MQTT without TLS on 127.0.0.1:1883.")
    ] = None,
    mqtt_plain_port: Annotated[
        int | None, typer.Option("--mqtt-plain-port", help="Its port; 0: any free port.")
    ] = None,
    nats_url: Annotated[
        str | None, typer.Option("--nats-url", metavar="URL", help="An external NATS server.")
    ] = None,
    roles: Annotated[
        str | None, typer.Option("--roles", help="Parts to run: console,api,aws,devices,worker. [all]")
    ] = None,
    sync: Annotated[
        str | None, typer.Option("--sync", help="always survives power failure; interval is faster.")
    ] = None,
    insecure_http: Annotated[
        bool | None, typer.Option("--insecure-http", help="Allow a host that is not loopback without TLS.")
    ] = None,
    tls: Annotated[str, typer.Option("--tls", help="auto: HTTPS by this installation's authority.")] = "",
    tls_cert: Annotated[str, typer.Option("--tls-cert", metavar="F", help="HTTPS certificate.")] = "",
    tls_key: Annotated[str, typer.Option("--tls-key", metavar="F", help="Its key.")] = "",
    virtual_clock: Annotated[
        bool | None, typer.Option("--virtual-clock", help="Follow a demonstration's clock.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the addresses as one JSON line when ready; log as JSON.")
    ] = False,
) -> None:
    """Serve console, native API and devices until stopped."""
    chosen = settings(
        data,
        host=host,
        port=port,
        aws_port=aws_port,
        mqtt_port=mqtt_port,
        mqtt_plain=mqtt_plain or None,
        mqtt_plain_port=mqtt_plain_port,
        nats_url=nats_url,
        roles=roles,
        sync=sync,
        insecure_http=insecure_http or None,
        virtual_clock=virtual_clock or None,
        log_json=as_json or None,
    )
    wanted: Any = _tls(tls, tls_cert, tls_key)
    from masthead.base.log import configure_logs

    sys.stderr = cast(TextIO, _Lenient(sys.stderr))
    configure_logs(as_json=chosen.log_json, level=chosen.log_level)
    from masthead import server

    server.serve(
        chosen,
        tls=None if wanted is None else server.Tls(*wanted),
        announce=lambda found, first, link: _announce(found, first, link, chosen.nats_url, as_json=as_json),
    )


class _Lenient:
    """Standard error whose reader may go away: a log line that nobody takes must not stop the readings."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _tls(auto: str, certificate: str, key: str) -> tuple[str, str] | None:
    if bool(certificate) != bool(key):
        raise InvalidInput("tls_cert: expected both --tls-cert and --tls-key, got one")
    if auto not in ("", "auto") or (auto and certificate):
        raise InvalidInput("tls: expected auto, or --tls-cert and --tls-key")
    return (certificate, key) if certificate or auto else None


def _announce(found: "Addresses", first: "NewKey | None", link: str, nats_url: str, *, as_json: bool) -> None:
    shown = first if first is not None and not first.preset else None
    if as_json:
        key: dict[str, Any] = {"first_key": {"id": shown.key.id, "secret": shown.secret}} if shown else {}
        print_json_line({"ready": True, **found.to_json(), **key, **({"console_link": link} if link else {})})
        return
    bound = _bound(found.host)
    print(f"ready: console and API at {found.url}{bound}")
    if found.aws_port:
        scheme, _, rest = found.url.partition("://")
        print(f"       AWS wire API at {scheme}://{rest.rpartition(':')[0]}:{found.aws_port}{bound}")
    if found.mqtt_port:
        print(f"       MQTT over TLS at {found.host}:{found.mqtt_port}")
    if found.mqtt_plain_port:
        print(f"       MQTT without TLS at 127.0.0.1:{found.mqtt_plain_port}")
    if nats_url:
        from masthead.devices.external import limits

        print(f"       {limits(nats_url)}")
    if shown:
        print(f"       first key, also in {found.data}/credentials; its secret is not shown again:")
        print(f"       id {shown.key.id} secret {shown.secret}")
    if link:
        print(f"       open the console, once and within ten minutes, at {link}")
    print(f"       data in {found.data}; stop with Ctrl-C", flush=True)
    sys.stdout.flush()


def _bound(host: str) -> str:
    """Return what an address to open from here does not tell: that others reach it, too."""
    return f", bound to {host}: every address of this machine" if host in ("0.0.0.0", "::") else ""
