"""A channel's secrets: sealed beside the rule, opened where a message is sent or a rule is changed."""

from typing import Any

import orjson

from masthead.base.secrets import SecretBox


def open_secrets(box: SecretBox, rule: str, sealed: bytes | None) -> dict[str, Any]:
    """Return a rule's secret channel fields."""
    return open_sealed(box, secret_context(rule), sealed)


def open_sealed(box: SecretBox, context: str, sealed: bytes | None) -> dict[str, Any]:
    """Return the secret fields that were sealed in a context; None has none."""
    secret: dict[str, Any] = {} if sealed is None else orjson.loads(box.open(sealed, context=context))
    return secret


def channel_context(name: str) -> str:
    """Return what the secrets of a named channel are bound to."""
    return f"alert_channel:{name}"


def secret_context(rule: str) -> str:
    """Return what a rule's secrets are bound to, so that rows cannot be swapped."""
    return f"alert_rule:{rule}"
