"""Compiling with numba, once per machine: the only place that chooses how.

No fast-math and no parallel loops: the same numbers come out of one thread and of many.
"""

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

__all__ = ["compiled", "compiled_brief"]

F = TypeVar("F", bound=Callable[..., object])
_config: Any = numba.config  # its names are set at run time


def compiled(function: F) -> F:
    """Return `function` compiled to machine code at its first call, kept on disk for the next process.

    It lets go of the global interpreter lock, so that threads can score different series of one interval at once.
    """
    return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def compiled_brief(function: F) -> F:
    """Return the same for what takes microseconds: it keeps the lock.

    To get it back among many threads takes longer, and who waits for it holds up all who wait for him.
    """
    return cast(F, numba.njit(cache=True, error_model="numpy")(function))


def _find_cache() -> None:
    """Point numba to a folder it may write when neither the package nor the home folder is one.

    numba raises at import time of the kernel when it finds none: a service user without a home has none.
    """
    beside = Path(__file__).parent
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parents = [beside / "__pycache__", beside, home, *home.parents[:1]]
    if _config.CACHE_DIR or any(path.is_dir() and os.access(path, os.W_OK) for path in parents):
        return
    folder = Path(tempfile.gettempdir()) / f"masthead-kernel-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    told = folder.lstat()
    if not stat.S_ISDIR(told.st_mode) or told.st_uid != os.getuid() or told.st_mode & 0o077:
        folder = Path(
            tempfile.mkdtemp(prefix="masthead-kernel-")
        )  # never run code that another user may write
    _config.CACHE_DIR = str(folder)


_find_cache()
