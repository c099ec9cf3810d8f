"""What the log holds and the sinks have not settled yet: written to a file for a backup, put back after a restore.

    file: "MRU1" | frames;  frame: sequence u64 | length u32 | packed readings

A restored log goes on under the sequences of the old one, so that every sink passes over what it already has.
"""

import asyncio
import contextlib
import os
import secrets
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from masthead.base.errors import InvalidInput, LimitReached
from masthead.devices.mqtt_store import MQTT_STREAM, purge
from masthead.devices.puller import Puller
from masthead.devices.readings_log import COPIED, FROM_MQTT, READINGS, SUBJECT

RESTORED = "restored.readings"
"""In the broker's folder: what a restore left to be put back before anything else is stored."""

_MAGIC = b"MRU1"
_FRAME = struct.Struct("<QI")
_COPY_S = 30.0


async def write_unread(client: Client, first: int, path: Path) -> int:
    """Write what the log holds from sequence `first` on, and all that is acknowledged now; return how many batches.

    Raises:
        LimitReached: The log is full, so that acknowledged readings wait before it.
    """
    await _copied(client)
    state = (await client.jetstream().stream_info(READINGS)).state
    count = 0
    with path.open("wb") as file:
        file.write(_MAGIC)
        if state.messages and state.last_seq >= first:
            count = await _write_frames(client, file, first, state.last_seq)
        file.flush()
        os.fsync(file.fileno())
    return count


async def put_back(client: Client, path: Path) -> int:
    """Store the batches of a file under their own sequences and remove it; return how many were stored.

    May be repeated: what an interrupted attempt has stored is passed over.
    """
    if not path.exists():
        return 0
    js = client.jetstream(timeout=10)
    last = (await js.stream_info(READINGS)).state.last_seq
    stored = 0
    for sequence, data in read_frames(path):
        if sequence <= last:
            continue
        if sequence > last + 1:
            await purge(client, READINGS, sequence)
        answer = await js.publish(
            f"{SUBJECT}restored", data, stream=READINGS, headers={"Nats-Msg-Id": secrets.token_hex(16)}
        )
        last, stored = answer.seq, stored + 1
        if last != sequence:
            raise LimitReached(f"restore: expected sequence {sequence} in the log, got {last}")
    path.unlink()
    return stored


def read_frames(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield sequence and packed readings of each batch in a file.

    Raises:
        InvalidInput: The file was not made by `write_unread`.
    """
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise InvalidInput(f"readings: expected a file of unread readings, got {path.name}")
        while head := file.read(_FRAME.size):
            sequence, length = _FRAME.unpack(head) if len(head) == _FRAME.size else (0, -1)
            data = file.read(max(length, 0))
            if len(data) != length:
                raise InvalidInput(f"readings: {path.name} ends inside a batch")
            yield sequence, data


async def _copied(client: Client) -> None:
    """Return once everything that the MQTT door has acknowledged by now lies in the log."""
    js = client.jetstream()
    wanted = (await js.stream_info(MQTT_STREAM)).state.last_seq
    deadline = time.monotonic() + _COPY_S
    while wanted:
        with contextlib.suppress(NotFoundError):
            headers = (await js.get_last_msg(READINGS, FROM_MQTT)).headers or {}
            if int(headers[COPIED]) >= wanted:
                return
        if time.monotonic() > deadline:
            raise LimitReached("backup: acknowledged readings wait before the log, which takes no more")
        await asyncio.sleep(0.05)


async def _write_frames(client: Client, file: BinaryIO, first: int, last: int) -> int:
    made = await client.jetstream().add_consumer(
        READINGS,
        ConsumerConfig(
            ack_policy=AckPolicy.NONE,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=max(1, first),
            mem_storage=True,
            inactive_threshold=30.0,
        ),
    )
    count = 0
    async with Puller(client, stream=READINGS, consumer=str(made.name), ahead=16) as puller:
        while True:
            for message in await puller.next(most=16):
                if message.sequence <= last:
                    file.write(_FRAME.pack(message.sequence, len(message.data)) + message.data)
                    count += 1
                if message.sequence >= last:
                    return count
