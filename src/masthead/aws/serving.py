"""From settings to what uvicorn serves on port 8401."""

from typing import TYPE_CHECKING

import uvicorn

from masthead.aws.core import Core
from masthead.aws.gateway import Gateway
from masthead.aws.listener import Wire
from masthead.base.addresses import read_networks
from masthead.base.clock import SystemClock

if TYPE_CHECKING:
    from masthead.app import Masthead

KEEP_ALIVE_S = 65  # longer than a client's pool keeps a connection, so that it is the client who ends it


def listener_config(
    masthead: "Masthead", *, certificate: str | None, key: str | None, drain_s: int
) -> uvicorn.Config:
    """Return the configuration of the AWS listener; its models are read here, never in a request.

    Raises:
        InvalidInput: The setting `trusted_proxies` cannot be read.
    """
    settings = masthead.settings
    # Signatures are judged in real time, whatever a demonstration's clock shows.
    core = Core(masthead, clock=SystemClock(), region=settings.aws_region)
    gateway = Gateway(core, trusted=read_networks(settings.trusted_proxies))
    return configured(gateway, certificate=certificate, key=key, drain_s=drain_s)


def configured(
    gateway: Gateway,
    *,
    certificate: str | None = None,
    key: str | None = None,
    drain_s: int = 5,
    port: int = 0,
) -> uvicorn.Config:
    """Return how uvicorn serves a gateway; it looks at proxies' headers itself."""
    return uvicorn.Config(
        gateway,
        port=port,
        http=Wire,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=drain_s,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
