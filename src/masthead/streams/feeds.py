"""What a delivery stream promises to who reads its folders. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from masthead.streams.eventtime import EventTime, zone_of
from masthead.streams.prefixes import parse_prefix
from masthead.streams.records import DeliveryStream

__all__ = ["Feed", "feed_of"]


@dataclass(frozen=True, slots=True)
class Feed:
    """A delivery stream as a reader of folders sees it.

    Attributes:
        name: Of the stream. zone: The zone that its folders are named in.
        buffer_s: A record lies in its folder so many seconds after its arrival at the latest.
        interval_s: Its folders are those of the intervals in which records happened; 0 = of their arrival.
        folder_at: Epoch seconds -> the address of the folder, without a slash at its end.
        start_of: Epoch seconds -> start of the interval that holds them; None by arrival.
    """

    name: str
    zone: str
    buffer_s: float
    interval_s: int
    folder_at: Callable[[float], str]
    start_of: Callable[[float], int] | None = None


def feed_of(stream: DeliveryStream) -> Feed:
    """Return what a stream promises.

    >>> stream = DeliveryStream("air", "s3://air/", prefix="in/!{timestamp:yyyyMMdd'/'HHmm}/")
    >>> feed_of(stream).folder_at(1_648_164_660)
    's3://air/in/20220324/2331'
    """
    bucket, start = stream.bucket_and_start()
    prefix, zone = parse_prefix(stream.prefix), zone_of(stream.zone)

    def folder_at(at: float) -> str:
        name = prefix.evaluate(datetime.fromtimestamp(at, zone), token="").lstrip("/")
        return f"s3://{bucket}/{start}{name}".rpartition("/")[0]

    if stream.event_time is None:
        return Feed(stream.name, stream.zone, stream.buffer_s, 0, folder_at)
    event_time = EventTime.from_json(stream.event_time)
    return Feed(stream.name, stream.zone, stream.buffer_s, event_time.interval_s, folder_at, event_time.start)
