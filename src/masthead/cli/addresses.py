"""Where the server of a data folder listens: what it wrote down when it was ready, else what the settings say."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import urllib.request

    from masthead.base.settings import Settings

FOLLOW_S = 5.0


@dataclass(frozen=True, slots=True)
class Served:
    """The running server: its addresses, and the token that only readers of the data folder know."""

    url: str
    token: str
    mqtt_port: int


def served(folder: Path) -> Served | None:
    """Return how to reach the server of a folder, or None when none runs there."""
    from masthead.base.folder import DataFolder

    found = DataFolder(folder).served_at()
    try:
        return None if found is None else Served(found["url"], found["token"], int(found["mqtt_port"]))
    except (ValueError, KeyError):
        return None


def mqtt_endpoint(folder: Path, settings: "Settings") -> tuple[str, int]:
    """Return host and port that a device on this machine connects to."""
    running = served(folder)
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::", "127.0.0.1") else settings.host
    return host, running.mqtt_port if running and running.mqtt_port else settings.mqtt_port


def opener(running: Served) -> "urllib.request.OpenerDirector":
    """Return what asks the own server, over HTTP or HTTPS, past any proxy."""
    import ssl
    import urllib.request

    # The address is this machine's own and the token is good for this one process: no name to verify.
    secure = urllib.request.HTTPSHandler(context=ssl._create_unverified_context())
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), secure)


def let_server_follow(folder: Path, patience_s: float = FOLLOW_S) -> str:
    """Have the server of a folder, if one runs, follow what was written to the database; return what went wrong, or "".

    What was written stands in any case: a server that is busy or about to end reads it later, or when it starts.

    Args:
        patience_s: How long to wait for its answer.
    """
    running = served(folder)
    if running is None:
        return ""
    import urllib.request

    request = urllib.request.Request(
        f"{running.url}/follow", b"", {"Authorization": f"Bearer {running.token}"}, method="POST"
    )
    try:
        with opener(running).open(request, timeout=patience_s):
            return ""
    except OSError as error:  # urllib's own errors are some
        reason = (
            f"it has not answered within {patience_s:g} s" if isinstance(error, TimeoutError) else str(error)
        )
        return f"the server does not follow this change yet: {reason}; what was written stands"
