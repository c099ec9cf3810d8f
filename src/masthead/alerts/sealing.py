"""A channel's secrets: sealed beside the rule, opened where a message is sent or a rule is changed."""

from typing import Any

import orjson

from masthead.base.secrets import SecretBox


def open_secrets(box: SecretBox, rule: str, sealed: bytes | None) -> dict[str, Any]:
    """Return a rule's secret channel fields."""
    if sealed is None:
        return {}
    secret: dict[str, Any] = orjson.loads(box.open(sealed, context=secret_context(rule)))
    return secret


def secret_context(rule: str) -> str:
    """Return what a rule's secrets are bound to, so that rows cannot be swapped."""
    return f"alert_rule:{rule}"
