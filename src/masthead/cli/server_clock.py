"""A server's clock, led from here: readings are sent when it shows their time, and it waits until they are counted.

The server moves its clock only when every reading that it has acknowledged was taken, so whoever leads it can be as
fast as the pipeline and never faster. It passes the beats on to the subject `masthead.clock`.
"""

import contextlib
import itertools
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from masthead.base.errors import LimitReached, MastheadError
from masthead.cli.addresses import Served

if TYPE_CHECKING:
    from masthead.cli.simulate_to import Target
    from masthead.metrics.simulate import SimulatedReading

AS_FAST_AS_POSSIBLE = 1e9  # every wait is over as soon as it begins
_SLICE_S = 15.0  # readings so close together go as one; detectors wait 30 s for what is on its way
_SLACK_S = 31.0  # until a detector has closed the last interval by the clock
_LOOK_S = 5.0  # real seconds between beats while time passes; the clock leaves us after 60 without one
_AT_ONCE = 200
_PATIENCE_S = 120.0


class ServerClock:
    """The clock of a running server."""

    def __init__(self, running: Served) -> None:
        """Ask what it shows.

        Raises:
            LimitReached: The server does not answer.
        """
        self._url, self._token = f"{running.url}/clock", running.token
        self._open = opener(running)
        found = self._ask(None)
        self.virtual, self.start_s = bool(found["virtual"]), float(found["time"])

    @contextlib.contextmanager
    def led(self, factor: float) -> Iterator[None]:
        """Have the clock to oneself; afterwards it goes on at the pace of the real world."""
        self._factor = factor
        try:
            yield
        finally:
            with contextlib.suppress(MastheadError):
                self._ask({"factor": 1.0})

    def wait_for(self, moment_s: float) -> None:
        """Return when the clock shows `moment_s` and stands there.

        Raises:
            LimitReached: Readings were not taken for two minutes; they lie in the stream.
        """
        while (left_s := moment_s - self._go_on(moment_s)) > 0:
            time.sleep(min(left_s / self._factor, _LOOK_S))

    def _go_on(self, until_s: float) -> float:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return float(self._ask({"factor": self._factor, "until": until_s})["time"])
            except LimitReached:  # the pipeline is behind: time waits for it
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def _ask(self, document: dict[str, float] | None) -> dict[str, Any]:
        data = None if document is None else json.dumps(document).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"}
        try:
            with self._open.open(urllib.request.Request(self._url, data, headers), timeout=60) as response:
                found: dict[str, Any] = json.load(response)
                return found
        except urllib.error.HTTPError as error:
            raise LimitReached(f"clock: the server answered {error.code}: {_reason(error)}") from error
        except OSError as error:
            raise LimitReached(f"clock: the server does not answer: {error}") from error


def play_by(
    clock: ServerClock,
    readings: Sequence["SimulatedReading"],
    target: "Target",
    *,
    interval_s: float,
    factor: float | None,
) -> int:
    """Send each reading when the server's clock shows its time, and let the clock close the last interval; return how many.

    Args:
        factor: How many times as fast as the machine's the clock runs; None = as fast as readings are taken.
    """
    if not readings:
        return 0
    end_s = readings[-1].time_s // interval_s * interval_s + interval_s + _SLACK_S
    with clock.led(factor or AS_FAST_AS_POSSIBLE):
        for _, together in itertools.groupby(readings, key=lambda one: one.time_s // _SLICE_S):
            due = list(together)
            clock.wait_for(due[-1].time_s)
            for first in range(0, len(due), _AT_ONCE):
                target.send(due[first : first + _AT_ONCE])
        clock.wait_for(end_s)
    return len(readings)


def opener(running: Served) -> urllib.request.OpenerDirector:
    """Return what asks the own server, over HTTP or HTTPS, past any proxy."""
    import ssl

    # The address is this machine's own and the token is good for this one process: no name to verify.
    secure = urllib.request.HTTPSHandler(context=ssl._create_unverified_context())
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), secure)


def _reason(error: urllib.error.HTTPError) -> str:
    text = error.read().decode(errors="replace")
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return text[:500]
