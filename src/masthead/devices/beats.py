"""A demonstration's clock over the broker: beats on `masthead.clock`, followed by every server with `--virtual-clock`.

A beat is JSON, {"time": epoch s, "factor": n, "until": epoch s}, each may be left out or null. Who may say one: the
owner of the data folder (`POST /clock` with the folder's token), and at an external broker whoever its own users may
publish there. No thing may: `masthead.>` is denied to every one, whatever its policies allow.
"""

import asyncio
import json
import secrets

from nats.aio.client import Client
from nats.aio.msg import Msg

from masthead.base.clock import Beat, VirtualClock
from masthead.base.errors import InvalidInput, LimitReached
from masthead.base.log import get_logger

_LOG = get_logger("devices")
SUBJECT = "masthead.clock"
_ID = "Masthead-Beat"
_FOLLOWED_S = 5.0


class Beats:
    """Says beats and follows them, in the order of the broker; used from one loop only."""

    def __init__(self, client: Client, clock: VirtualClock) -> None:
        self._client, self._clock = client, clock
        self._said: dict[str, asyncio.Event] = {}

    async def open(self) -> None:
        """Begin to follow."""
        await self._client.subscribe(SUBJECT, cb=self._follow)

    async def say(self, beat: Beat) -> None:
        """Publish a beat; returns once this server has followed it.

        Raises:
            LimitReached: The broker did not bring it back in time.
        """
        name = secrets.token_hex(8)
        followed = self._said[name] = asyncio.Event()
        try:
            await self._client.publish(SUBJECT, json.dumps(beat.to_json()).encode(), headers={_ID: name})
            async with asyncio.timeout(_FOLLOWED_S):
                await followed.wait()
        except TimeoutError as error:
            raise LimitReached("clock: the broker does not answer; try again") from error
        finally:
            del self._said[name]

    async def _follow(self, message: Msg) -> None:
        try:
            self._clock.follow(Beat.from_json(json.loads(message.data)))
        except (InvalidInput, ValueError) as error:
            _LOG.warning("a beat of the clock cannot be followed", reason=str(error))
        if (followed := self._said.get((message.headers or {}).get(_ID, ""))) is not None:
            followed.set()
