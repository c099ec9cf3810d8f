"""Fills the log of readings while the sink stands still; counts what was acknowledged against what comes out after.

    python benchmarks/full_log.py [--json]

The log holds 20 MB here. The sink refuses everything until no PUBACK has come for 5 s; then it takes again, the
log is trimmed, and the devices, which resend, get rid of the rest.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from faults import Product
from mqtt_load import Publisher, tls_context

_GIB = 20e6 / 1024**3
_THINGS = 6


class StandingStill(Product):
    """An application whose sink can be stopped."""

    def __init__(self, data: Path, **options: Any) -> None:
        super().__init__(data, **options)
        self.room = threading.Event()

    def take(self, batch: Any) -> None:
        """Refuse until there is room."""
        if not self.room.is_set():
            raise OSError("the sink stands still")
        super().take(batch)


async def fill(data: Path) -> dict[str, Any]:
    """Fill, wait, make room, and return the books."""
    from masthead.devices.host import DeviceHost

    product = StandingStill(data, aws_port=0, mqtt_port=0, stream_max_gib=_GIB)
    host = DeviceHost(product)  # type: ignore[arg-type]
    await asyncio.to_thread(host.start)
    publishers = []
    for number in range(_THINGS):
        name = f"thing{number}"
        await asyncio.to_thread(product.access.create_thing, name)
        publishers.append(
            Publisher(
                name=name,
                context=tls_context(data / "things" / name),
                port=host.mqtt_port,
                window=50,
                payload=lambda one: json.dumps({"id": one, "filler": "x" * 4000}).encode(),
                topic=f"sensors/{name}/air",
            )
        )
    work = [asyncio.create_task(publisher.run()) for publisher in publishers]

    def acknowledged() -> int:
        return sum(len(publisher.acknowledged) for publisher in publishers)

    filled = await _standstill(acknowledged, 60)
    before = acknowledged()
    await asyncio.sleep(3)
    while_full = acknowledged() - before
    blocked = host.state()["blocked"]
    product.room.set()
    await _until(lambda: acknowledged() > before + 500, 90)
    for publisher in publishers:
        publisher.finish()
    await asyncio.wait_for(asyncio.gather(*work), 90)
    wanted = set().union(*(publisher.acknowledged for publisher in publishers))
    await _until(lambda: len(_taken(product)) >= len(wanted), 60)
    taken = _taken(product)
    await asyncio.to_thread(host.stop)
    with product._open() as connection:
        twice = connection.execute(
            "SELECT count(*) FROM (SELECT 1 FROM taken GROUP BY id, arrived HAVING count(*) > 1)"
        ).fetchone()[0]
    return {
        "filled": filled,
        "blocked": blocked,
        "acknowledged_before_room": before,
        "acknowledged_while_full": while_full,
        "acknowledged": len(wanted),
        "lost": len(wanted - taken),
        "taken_twice": twice,
    }


def _taken(product: Product) -> set[str]:
    connection = product._open()
    found = {row[0] for row in connection.execute("SELECT DISTINCT id FROM taken")}
    connection.close()
    return found


async def _standstill(count: Any, limit_s: float) -> bool:
    """Return whether the count stood still for 5 s, after it had moved."""
    last, since, deadline = 0, time.monotonic(), time.monotonic() + limit_s
    while time.monotonic() < deadline:
        await asyncio.sleep(0.2)
        if count() != last:
            last, since = count(), time.monotonic()
        elif last and time.monotonic() - since > 5:
            return True
    return False


async def _until(check: Any, limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not check():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {limit_s} s")
        await asyncio.sleep(0.2)


def main() -> int:
    """Return 0 when nothing acknowledged was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="masthead-full-") as work:
        found = asyncio.run(fill(Path(work) / "data"))
    print(
        json.dumps(found) if given.json else "\n".join(f"{name:26}{value}" for name, value in found.items())
    )
    good = found["filled"] and not (found["acknowledged_while_full"] or found["lost"] or found["taken_twice"])
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
