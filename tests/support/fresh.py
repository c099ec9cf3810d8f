"""Data folders as the first start leaves them: made once in a process, then copied."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from masthead.app import Masthead
from masthead.base.settings import Settings


@cache
def _first() -> Path:
    home = Path(tempfile.mkdtemp(prefix="masthead-fresh-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    Masthead.open(Settings(data=home / "data")).close()
    return home / "data"


def fresh(data: Path) -> Path:
    """Return the folder, whose database has all migrations and no row: opening it need not run them."""
    return Path(shutil.copytree(_first(), data))
