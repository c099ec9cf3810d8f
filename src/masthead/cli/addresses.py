"""Where the server of a data folder listens: what it wrote down when it was ready, else what the settings say."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from masthead.base.settings import Settings

ADDRESSES = "serve.json"


@dataclass(frozen=True, slots=True)
class Served:
    """The running server: its addresses, and the token that only readers of the data folder know."""

    url: str
    token: str
    mqtt_port: int


def served(folder: Path) -> Served | None:
    """Return how to reach the server of a folder, or None when none runs there."""
    from masthead.base.folder import DataFolder

    if DataFolder(folder).served_by() is None:
        return None
    try:
        found = json.loads((folder / ADDRESSES).read_text())
        return Served(found["url"], found["token"], int(found["mqtt_port"]))
    except (OSError, ValueError, KeyError):
        return None


def mqtt_endpoint(folder: Path, settings: "Settings") -> tuple[str, int]:
    """Return host and port that a device on this machine connects to."""
    running = served(folder)
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::", "127.0.0.1") else settings.host
    return host, running.mqtt_port if running and running.mqtt_port else settings.mqtt_port
