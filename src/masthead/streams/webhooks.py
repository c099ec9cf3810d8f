"""The `webhook` action of a topic rule: what the rule selected, posted to an address."""

from collections.abc import Mapping
from typing import Any

from masthead.base.errors import LimitReached
from masthead.streams.readings import Reading

LIMIT_S = 10.0


def send_webhook(action: Mapping[str, Any], payload: bytes, reading: Reading) -> None:
    """Post `payload` to the action's `url`; the topic goes along as `X-Masthead-Topic`.

    Raises:
        LimitReached: The receiver could not be reached or did not answer with 2xx; the outbox tries again.
    """
    import httpx  # 60 ms to import, and few installations have a webhook

    headers = {
        "Content-Type": "application/json",
        "X-Masthead-Topic": reading.topic,
        **(action.get("headers") or {}),
    }
    try:
        answer = httpx.post(
            action["url"], content=payload, headers=headers, timeout=LIMIT_S, follow_redirects=False
        )
    except httpx.HTTPError as error:
        raise LimitReached(f"webhook: {error or type(error).__name__}") from error
    if not answer.is_success:
        raise LimitReached(f"webhook: the receiver answered {answer.status_code}")
