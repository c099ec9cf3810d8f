"""A NATS server that somebody else runs, and a plain client of it."""

import asyncio
import json
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client

from masthead.devices.nats_server import find_binary, free_port


class External:
    """A nats-server with a configuration of its own."""

    def __init__(self, folder: Path, *, jetstream: bool = True, mqtt_door: bool = False) -> None:
        self.port, self.mqtt_port = free_port(), free_port()
        folder.mkdir(exist_ok=True)
        lines = [f'host: "127.0.0.1"\nport: {self.port}\nserver_name: theirs']
        lines += [f'jetstream {{ store_dir: "{folder}/store" }}'] if jetstream else []
        lines += [f'mqtt {{ host: "127.0.0.1"\n port: {self.mqtt_port} }}'] if mqtt_door else []
        lines += ['authorization { users = [ {user: "masthead", password: "secret"} ] }']
        (folder / "theirs.conf").write_text("\n".join(lines))
        self.url = f"nats://masthead:secret@127.0.0.1:{self.port}"
        self._config = folder / "theirs.conf"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [find_binary(), "-c", self._config], stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if "Server is ready" in line:
                return

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


class Publisher:
    """A program with a plain NATS client, which knows nothing of Masthead."""

    def __init__(self, url: str) -> None:
        self._url = url

    def publish(self, subject: str, messages: Iterable[Any]) -> None:
        """Publish JSON values, each acknowledged by the stream that keeps the subject."""

        async def work(client: Client) -> None:
            js = client.jetstream()
            for one in messages:
                await js.publish(subject, one if isinstance(one, bytes) else json.dumps(one).encode())

        self._do(work)

    def stored(self, subject: str) -> list[dict[str, Any]]:
        """Return all that the stream of a subject keeps under it, in order."""

        async def work(client: Client) -> list[dict[str, Any]]:
            js = client.jetstream()
            stream = await js.find_stream_name_by_subject(subject)
            state = (await js.stream_info(stream)).state
            found = [await js.get_msg(stream, n) for n in range(max(1, state.first_seq), state.last_seq + 1)]
            return [json.loads(one.data or b"") for one in found if one.subject == subject]

        return self._do(work)

    def waiting(self, subject: str) -> int:
        """Return how many messages the stream of a subject keeps."""

        async def work(client: Client) -> int:
            js = client.jetstream()
            return (await js.stream_info(await js.find_stream_name_by_subject(subject))).state.messages

        return self._do(work)

    def do(self, work: Any) -> Any:
        """Return what `work(jetstream)` returns."""
        return self._do(lambda client: work(client.jetstream()))

    def _do(self, work: Any) -> Any:
        async def run() -> Any:
            client = await nats.connect(self._url, max_reconnect_attempts=1)
            try:
                return await work(client)
            finally:
                await client.close()

        with ThreadPoolExecutor(1) as apart:  # a loop may be running here: a browser's
            return apart.submit(lambda: asyncio.run(run())).result()
