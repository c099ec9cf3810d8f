"""A column of times to UTC microseconds: at once where all have one form, else each distinct value by itself."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput
from masthead.fraud.data.schema import Schema
from masthead.fraud.data.values import key_text, time_us

__all__ = ["times_of"]


def times_of(schema: Schema, column: pa.ChunkedArray) -> tuple[NDArray[np.int64], list[tuple[int, str]]]:
    """Return UTC microseconds, and (place, reason) of what is no time."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if (fast := _fast_times(schema, column)) is not None:
        return fast, []
    coded = column.combine_chunks().dictionary_encode()
    values = coded.dictionary.to_pylist()
    found = np.zeros(len(values) + 1, np.int64)
    reasons: dict[int, str] = {len(values): "no time"}
    for place, value in enumerate(values):
        try:
            if key_text(value) is None:
                reasons[place] = "no time"
            else:
                found[place] = time_us(schema.time, value)
        except InvalidInput as error:
            reasons[place] = error.message.partition(": ")[2]
    indices = coded.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero(np.isin(indices, list(reasons)))
    return found[indices], [(int(place), reasons[int(indices[place])]) for place in wrong]


def _fast_times(schema: Schema, column: pa.ChunkedArray) -> NDArray[np.int64] | None:
    """Return the times of a column without faults whose values have one form; None = look at each."""
    if column.null_count or not len(column):
        return None
    kind = column.type
    whole: NDArray[np.int64] | None
    try:
        if pa.types.is_timestamp(kind):
            # Nanoseconds are cut; a column without zone is UTC.
            return np.asarray(pc.cast(column, pa.timestamp("us", kind.tz), safe=False).cast(pa.int64()))
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            whole = np.asarray(pc.cast(column, pa.int64())) if schema.time.unit else None
            if whole is None:
                zone = (
                    "UTC"
                    if pc.all(pc.match_substring_regex(column, r"(Z|[+-]\d\d:?\d\d)$")).as_py()
                    else None
                )
                return np.asarray(pc.cast(column, pa.timestamp("us", zone)).cast(pa.int64()))
        elif (pa.types.is_integer(kind) or pa.types.is_decimal(kind)) and schema.time.unit:
            whole = np.asarray(pc.cast(column, pa.int64()))
        else:
            return None
    except pa.ArrowInvalid:
        return None
    if not len(whole):
        return None
    limits = (int(whole.min()), int(whole.max()))
    try:
        first = time_us(schema.time, limits[0])
        time_us(schema.time, limits[1])
    except InvalidInput:
        return None
    scale = time_us(schema.time, 1) - time_us(schema.time, 0)
    return (whole - limits[0]) * scale + first if scale >= 1 else None
