"""Names of delivered objects: prefix expressions evaluated at one instant. Pure.

    !{timestamp:yyyy/MM/dd/HHmm}      the object's instant, in Java's letters
    !{firehose:random-string}         11 characters, new for each object
    !{firehose:error-output-type}     in error prefixes only: processing-failed

Source: Amazon Data Firehose Developer Guide, "Understand custom prefixes for Amazon S3 objects" and "Configure Amazon
S3 object name format".
"""

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

from masthead.base.errors import InvalidInput, shown
from masthead.base.patterns import Pattern, compile_pattern
from masthead.streams.eventtime import zone_of

MAX_EVALUATED = 512
PROCESSING_FAILED = "processing-failed"
FORMAT_FAILED = "format-conversion-failed"
DEFAULT_ERROR_PREFIX = "!{firehose:error-output-type}/"
_EXPRESSION = re.compile(r"!\{([^{}]*)\}")
_DEFAULT_TIME = "yyyy/MM/dd/HH/"
_RANDOM = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_SUFFIX_TIME = compile_pattern("yyyy-MM-dd-HH-mm-ss")
_SAMPLE = datetime(2026, 9, 23, 23, 59, 59)  # a Wednesday in September: the longest English names


@dataclass(frozen=True, slots=True)
class Prefix:
    """A parsed prefix: `evaluate` gives the text before an object's own name."""

    text: str
    parts: tuple[str | Pattern | Callable[[str, str], str], ...]
    has_expressions: bool

    def evaluate(self, moment: datetime, *, token: str, error_type: str = "") -> str:
        """Return the prefix at `moment` (its zone counts); `token` is what the random string is drawn from."""
        return "".join(_part(part, moment, token, error_type) for part in self.parts)


def parse_prefix(text: object, *, error: bool = False) -> Prefix:
    """Return the parsed prefix; one without a timestamp gets `yyyy/MM/dd/HH/` after it.

    Args:
        text: What the stream's owner wrote.
        error: It is an error prefix: `error-output-type` is allowed, and asked for beside other expressions.

    Raises:
        InvalidInput: An unknown expression or pattern, one left open, or over 512 characters evaluated.

    >>> parse_prefix("air/!{timestamp:yyyyMMdd'/'HHmm}/").evaluate(datetime(2022, 3, 24, 23, 30), token="")
    'air/20220324/2330/'
    """
    field = "error_prefix" if error else "prefix"
    if not isinstance(text, str) or len(text) > 1024:
        raise InvalidInput(f"{field}: expected text of at most 1024 characters, got {shown(text)}")
    parts: list[str | Pattern | Callable[[str, str], str]] = []
    place = 0
    names = set()
    for match in _EXPRESSION.finditer(text):
        parts.append(text[place : match.start()])
        parts.append(_expression(match[1], match.start() + 1, error=error))
        names.add(match[1].partition(":")[0] if match[1].startswith("timestamp:") else match[1])
        place = match.end()
    parts.append(text[place:])
    if any("!{" in part for part in parts if isinstance(part, str)):
        raise InvalidInput(f"{field}: expected '}}' after each '!{{', got {shown(text)}")
    if error and names and "firehose:error-output-type" not in names:
        raise InvalidInput(
            f"{field}: expected !{{firehose:error-output-type}} beside other expressions, got {shown(text)}"
        )
    if "timestamp" not in names:
        parts.append(compile_pattern(_DEFAULT_TIME))
    prefix = Prefix(text, tuple(part for part in parts if part != ""), bool(names))
    _check_evaluated(prefix, field)
    return prefix


def object_key(
    prefix: Prefix,
    *,
    stream: str,
    version: int,
    at: float,
    zone: str,
    identity: str,
    extension: str = "",
    error_type: str = "",
) -> str:
    """Return `<prefix><stream>-<version>-<yyyy-MM-dd-HH-mm-ss>-<id><extension>`, all at the instant `at`.

    `identity` is what the object holds, as text: equal identities give equal keys, so a replay finds its object.
    """
    moment = datetime.fromtimestamp(at, zone_of(zone))
    digest = blake2b(identity.encode(), digest_size=16).digest()
    start = prefix.evaluate(moment, token=identity, error_type=error_type)
    name = f"{stream}-{version}-{_SUFFIX_TIME.format(moment)}-{uuid.UUID(bytes=digest, version=4)}{extension}"
    return start.lstrip("/") + name


def check_prefixes(prefix: str, error_prefix: str) -> None:
    """Check both prefixes of a stream and what each asks of the other.

    Raises:
        InvalidInput: One is wrong, or the prefix has expressions and there is no error prefix.
    """
    parsed = parse_prefix(prefix)
    if parsed.has_expressions and not error_prefix:
        raise InvalidInput("error_prefix: expected one, since the prefix has expressions, got ''")
    parse_prefix(error_prefix, error=True)


def _expression(text: str, place: int, *, error: bool) -> Pattern | Callable[[str, str], str]:
    field = "error_prefix" if error else "prefix"
    if text.startswith("timestamp:"):
        try:
            return compile_pattern(text.removeprefix("timestamp:"))
        except InvalidInput as refusal:
            raise InvalidInput(f"{field}: {refusal.message} in the expression at place {place}") from refusal
    if text == "firehose:random-string":
        return lambda token, error_type: _random(token)
    if text == "firehose:error-output-type" and error:
        return lambda token, error_type: error_type
    raise InvalidInput(
        f"{field}: expected timestamp:..., firehose:random-string"
        f"{' or firehose:error-output-type' if error else ''} at place {place}, got {shown(text)}"
    )


def _part(
    part: str | Pattern | Callable[[str, str], str], moment: datetime, token: str, error_type: str
) -> str:
    if isinstance(part, str):
        return part
    return part.format(moment) if isinstance(part, Pattern) else part(token, error_type)


def _random(token: str) -> str:
    """Return 11 characters drawn from `token`: new for each object, the same at its replay."""
    number = int.from_bytes(blake2b(token.encode(), digest_size=16, person=b"random-string").digest(), "big")
    letters = []
    for _ in range(11):
        number, place = divmod(number, len(_RANDOM))
        letters.append(_RANDOM[place])
    return "".join(letters)


def _check_evaluated(prefix: Prefix, field: str) -> None:
    sample = prefix.evaluate(_SAMPLE, token="", error_type=FORMAT_FAILED).lstrip("/")
    parts = sample.split("/")
    if len(sample.encode(errors="replace")) > MAX_EVALUATED or any(part in (".", "..") for part in parts):
        raise InvalidInput(
            f"{field}: expected at most {MAX_EVALUATED} bytes without '..', got {shown(sample)}"
        )
    if "" in parts[:-1] or any(
        ord(char) < 32 or ord(char) == 127 or 0xD800 <= ord(char) < 0xE000 for char in sample
    ):
        raise InvalidInput(f"{field}: expected printable parts between single slashes, got {shown(sample)}")
    if any(len(part.encode()) > 240 for part in parts[:-1]) or len(parts[-1].encode()) > 60:
        raise InvalidInput(
            f"{field}: expected parts of at most 240 bytes and 60 after the last slash, got {shown(sample)}"
        )
