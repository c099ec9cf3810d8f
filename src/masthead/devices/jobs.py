"""Jobs of one session: connected clients, and loops of which none may outlive another."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from nats.aio.client import Client
from nats.errors import Error as NatsError

from masthead.base.log import get_logger
from masthead.devices.puller import Interrupted

_LOG = get_logger("devices")
_PENDING_BYTES = 64 * 1024 * 1024
_CONNECT_S = 6.0


async def connect(stack: contextlib.AsyncExitStack, url: str, lost: asyncio.Event, **user: str) -> Client:
    """Return a client that is closed with `stack`, and sets `lost` when its connection ends."""

    async def closed() -> None:
        lost.set()

    async def quiet(error: Exception) -> None:
        _LOG.debug("nats client", error=repr(error))

    how: dict[str, Any] = {"allow_reconnect": False, "max_reconnect_attempts": 0}
    how |= {"closed_cb": closed, "error_cb": quiet, "connect_timeout": 5, **user}
    # The limit is ours as well: nats-py tries an address that refuses for minutes.
    client = Client()
    stack.push_async_callback(_close, client)
    async with asyncio.timeout(_CONNECT_S):
        await client.connect(url, pending_size=_PENDING_BYTES, **how)
    return client


async def fail_when(lost: asyncio.Event) -> None:
    """Raise `Interrupted` once a connection is lost."""
    await lost.wait()
    raise Interrupted("connection lost")


async def true(event: asyncio.Event) -> None:
    """Return once the event is set."""
    await event.wait()


async def until_one_ends(jobs: Sequence[Coroutine[Any, Any, None]], begun: Callable[[], None]) -> None:
    """Run the jobs until one of them ends, end the others, and raise what the first one raised.

    Cancelled again until it ends: nats-py and Python 3.11's `wait_for` can swallow a cancellation that meets a
    result, and a task group would wait for such a job for ever.
    """
    tasks = [asyncio.create_task(job) for job in jobs]
    begun()
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end_all(tasks)
    for task in done:
        task.result()


async def end_all(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Return once every task has ended."""
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.5)


async def _close(client: Client) -> None:
    with contextlib.suppress(NatsError, OSError, TimeoutError):
        await client.close()
