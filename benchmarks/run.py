"""Runs the measurements behind the README's numbers, one after another, and keeps what each printed.

    ./run bench                  all that need no outside data
    ./run bench kernel faults    the named ones
    ./run bench nab --data DIR   arguments after a single name go to its script

Each script can also be run alone. What it prints goes to `benchmarks/results/NAME.json` with the machine, its load
before and after, the commit and the time.
"""

import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
BEHIND = ("--history", "500000", "--hub", "400000")
# name -> script and arguments at full size; those that need data from elsewhere are run by name only
PLANS = {
    "kernel-cost": ["kernel.py", "cost"],
    "kernel-clean": ["kernel.py", "clean"],
    "second-set": ["second_set.py"],
    "seasonal": ["seasonal.py"],
    "silence": ["silence.py"],
    "causes": ["causes.py"],
    "streams": ["streams.py"],
    "live": ["live.py"],
    "alert-delivery": ["alert_delivery.py"],
    "wire": ["wire.py"],
    "start": ["start.py"],
    "policy": ["policy.py"],
    "laws": ["laws.py"],
    "ingest-always": ["ingest.py", "--sync", "always"],
    "ingest-interval": ["ingest.py", "--sync", "interval"],
    "faults": ["faults.py"],
    "fraud-model": ["fraud_model.py"],
    "fraud-rings": ["fraud_rings.py"],
    "fraud-graph": ["fraud_graph.py"],
    "fraud-train": ["fraud_train.py"],
    "fraud-etl": ["fraud_etl.py", "--engine", "both"],
    "fraud-latency": ["fraud_path.py", "latency", *BEHIND, "--runs", "5"],
    "fraud-http": ["fraud_path.py", "latency", "--http", *BEHIND, "--runs", "5"],
    "fraud-throughput": ["fraud_path.py", "throughput"],
    "fraud-explain": ["fraud_path.py", "explain"],
    "fraud-store": ["fraud_path.py", "store"],
    "fraud-crash": ["fraud_path.py", "crash", "--kills", "20", "--history", "500000"],
}
NEED_DATA = {"nab": ["nab.py"], "beijing": ["beijing.py"]}


def machine() -> dict[str, object]:
    """Return what a reader needs to judge a number."""
    cpu = next(
        (line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), ""
    )
    memory = next(
        (int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0
    )
    return {
        "cpu": cpu or platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**20, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _place(argument: str) -> str:
    """Return an argument as it may be kept: a path of this machine by its last name."""
    return Path(argument).name if argument.startswith("/") else argument


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def run(name: str, command: list[str], extra: list[str]) -> int:
    """Run one script, show and keep what it prints, and return its exit status."""
    print(f"== {name}: {' '.join([*command, *extra])}", flush=True)
    before, started = os.getloadavg()[0], time.monotonic()
    process = subprocess.Popen(
        [sys.executable, str(HERE / command[0]), *command[1:], *extra], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        print("  " + line, end="", flush=True)
        lines.append(line.rstrip("\n"))
    status = process.wait()
    RESULTS.mkdir(exist_ok=True)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True
    ).stdout.strip()
    kept = {
        "name": name,
        "command": " ".join(["python", f"benchmarks/{command[0]}", *command[1:], *map(_place, extra)]),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "machine": machine(),
        "load_before": round(before, 2),
        "load_after": round(os.getloadavg()[0], 2),
        "seconds": round(time.monotonic() - started, 1),
        "exit": status,
        "printed": lines,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n")
    return status


def main() -> int:
    """Return 0 when every script did."""
    names = [argument for argument in sys.argv[1:] if argument in PLANS | NEED_DATA]
    extra = [argument for argument in sys.argv[1:] if argument not in names]
    if extra and len(names) != 1:
        print(f"usage: ./run bench [NAME ...] with NAME of {', '.join(PLANS | NEED_DATA)}", file=sys.stderr)
        return 2
    failed = [name for name in names or PLANS if run(name, (PLANS | NEED_DATA)[name], extra)]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
