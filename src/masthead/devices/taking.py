"""The last step of a reading's way: a batch of the log is given to the sinks, in order, until they have taken it."""

import asyncio
import concurrent.futures
import time
from collections import OrderedDict
from typing import Any

from masthead.base.errors import InvalidInput, LimitReached
from masthead.base.log import get_logger
from masthead.devices.product import Product
from masthead.devices.telemetry import TAKEN
from masthead.streams.readings import Batch, unpack

_LOG = get_logger("devices")
_MOST_LAST = 10_000
_LAST_BYTES = 2_000


class Taking:
    """Gives batches to the application in one thread.

    Attributes:
        done: Sequence of the last batch that every sink has taken; None before the first.
        count: Readings taken. trouble: Why the present batch is tried again, or "".
        last: The last reading of each thing (or topic, where the thing is unknown).
    """

    def __init__(self, app: Product) -> None:
        self._app = app
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "take")
        self._stopping = False
        self.done: int | None = None
        self.count = 0
        self.trouble = ""
        self.last: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def stop(self) -> None:
        """Let a batch that waits for room go; the log keeps it."""
        self._stopping = True

    def close(self) -> None:
        """Return when the batch that is being taken is finished."""
        self._thread.shutdown(wait=True)

    async def take(self, sequence: int, data: bytes) -> None:
        """Give one message of the log to the sinks; try again for ever, since a reading must not be lost."""
        loop, delay_s = asyncio.get_running_loop(), 0.5
        while True:
            try:
                await loop.run_in_executor(self._thread, self._take_now, sequence, data)
            except Exception as error:
                self.trouble = f"taking: {type(error).__name__}: {error}"
                _LOG.error("a batch could not be taken", sequence=sequence, error=repr(error))
                self._app.journal.write(
                    "server", "devices", "batch not taken", sequence=sequence, error=str(error)
                )
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, 10.0)
            else:
                self.trouble = ""
                self.done = sequence
                return

    def _take_now(self, sequence: int, data: bytes) -> None:
        while not self._app.can_take():  # bounded by the pull's demand: the log keeps what comes meanwhile
            if self._stopping:
                raise LimitReached("taking: stopped before the sinks had room")
            time.sleep(0.05)
        try:
            readings = unpack(data)
        except InvalidInput as error:  # not written by us; nothing in it can be a reading
            _LOG.error("a message of the log is no batch", sequence=sequence, error=str(error))
            return
        self._app.take(Batch(sequence, readings))
        self.count += len(readings)
        TAKEN.inc(len(readings))
        newest = {reading.thing or reading.topic: reading for reading in readings}
        for name, reading in newest.items():
            self.last.pop(name, None)
            self.last[name] = {
                "topic": reading.topic,
                "payload": reading.payload[:_LAST_BYTES].decode(errors="replace"),
                "arrived": reading.arrived,
                "thing": reading.thing,
            }
        while len(self.last) > _MOST_LAST:
            self.last.popitem(last=False)
