"""Every page, in the order of the navigation. A page is a function that takes the console and registers its routes."""

from collections.abc import Callable

from masthead.console import (
    alerts,
    detectors,
    endpoints,
    fraud,
    groups,
    logs,
    overview,
    policies,
    rules,
    streams,
    things,
)
from masthead.console.shell import Console

PAGES: tuple[Callable[[Console], None], ...] = tuple(
    room.register
    for room in (
        overview,
        detectors,
        groups,
        alerts,
        fraud,
        endpoints,
        things,
        policies,
        rules,
        streams,
        logs,
    )
)
