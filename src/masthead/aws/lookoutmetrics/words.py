"""Words, numbers and times as Lookout for Metrics writes them."""

import re
import zoneinfo
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from masthead.aws.operations import Call
from masthead.base.errors import InvalidInput, shown
from masthead.metrics.records import Detector, Execution

MOST_RESULTS = 100
INTERVALS = {"PT5M": "5m", "PT10M": "10m", "PT1H": "1h", "P1D": "1d"}
FREQUENCIES = {interval: frequency for frequency, interval in INTERVALS.items()}
_STATUS = {
    "created": "INACTIVE",
    "activating": "ACTIVATING",
    "learning": "LEARNING",
    "active": "ACTIVE",
    "deactivating": "DEACTIVATING",
    "stopped": "DEACTIVATED",
    "failed": "FAILED",
    "backtesting": "BACK_TEST_ACTIVATING",
    "backtested": "BACK_TEST_COMPLETE",
    "deleting": "DELETING",
}
_ZONE = re.compile(r"[A-Za-z0-9/_]+")  # what the model lets a zone in brackets be
_MOST_OFFSET_S = 12 * 3600 + 59 * 60
_MESSAGE = 256


class Named(Protocol):
    """What has a name."""

    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=Named)


def interval_of(frequency: str) -> str:
    """Return the interval of a frequency, which the model has checked."""
    return INTERVALS[frequency]


def status_of(found: Detector, latest: Callable[[], Execution | None]) -> str:
    """Return a detector's state in AWS's word; `latest` is asked for its job only while a back-test runs."""
    if found.state == "backtesting" and (job := latest()) is not None and job.is_testing:
        return "BACK_TEST_ACTIVE"
    return _STATUS[found.state]


def moment_text(moment: datetime, zone: str = "UTC") -> str:
    """Return an anomaly's time: local with its offset and zone, in UTC where the model has no room for the zone.

    >>> moment_text(datetime(2022, 3, 24, 23, 30, tzinfo=UTC))
    '2022-03-24T23:30:00+00:00[UTC]'
    >>> moment_text(datetime(2022, 3, 24, 23, 30, tzinfo=UTC), "Europe/Rome")
    '2022-03-25T00:30:00+01:00[Europe/Rome]'
    >>> moment_text(datetime(2022, 3, 24, 23, 30, tzinfo=UTC), "Pacific/Kiritimati")
    '2022-03-24T23:30:00+00:00[UTC]'
    """
    local = moment.astimezone(zoneinfo.ZoneInfo(zone)).replace(microsecond=0)
    offset = local.utcoffset()
    seconds = 0.0 if offset is None else offset.total_seconds()
    if not _ZONE.fullmatch(zone) or abs(seconds) > _MOST_OFFSET_S or seconds % 60:
        local, zone = moment.astimezone(UTC).replace(microsecond=0), "UTC"
    return f"{local.isoformat()}[{zone}]"


def read_moment(text: str, member: str) -> datetime:
    """Return the time of a text that the model has checked.

    Raises:
        InvalidInput: There is no such day.
    """
    try:
        return datetime.fromisoformat(text.partition("[")[0])
    except ValueError as error:
        raise InvalidInput(f"{member}: expected a time, got {shown(text)}", field=member) from error


def message(text: str) -> str | None:
    """Return a text as a message of the model, on one line of at most 256 characters; None for an empty one."""
    return " ".join(text.split())[:_MESSAGE] or None


def page_by_name(call: Call, found: Iterable[T], *filters: Any) -> tuple[list[T], str | None]:
    """Return a page of what has names, in their order, and the token of the next one."""
    after = call.after(call.input.get("NextToken"), *filters)
    behind = "" if after is None else str(after[0])
    limit = limit_of(call)
    rest = sorted((one for one in found if one.name > behind), key=lambda one: one.name)
    following = call.next_token([rest[limit - 1].name], *filters) if len(rest) > limit else None
    return rest[:limit], following


def limit_of(call: Call) -> int:
    """Return how many rows a page has."""
    return int(call.input.get("MaxResults", MOST_RESULTS))


def native_token(call: Call, *filters: Any) -> str | None:
    """Return the token that our own list gave for the page that is asked for; None for the first one."""
    after = call.after(call.input.get("NextToken"), *filters)
    return None if after is None else str(after[0])


def wire_token(call: Call, token: str | None, *filters: Any) -> str | None:
    """Return the token of a page for the client, around that of our own list."""
    return None if token is None else call.next_token([token], *filters)
