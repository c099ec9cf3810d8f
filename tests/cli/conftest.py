"""Commands run inside the test's process set up its log; the next test must not write to a stream that is gone."""

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _forget_the_log() -> Iterator[None]:
    yield
    structlog.reset_defaults()
