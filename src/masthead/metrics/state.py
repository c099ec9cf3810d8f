"""What the kernel remembers of a series, and the records it exchanges with the scorer: numpy types only.

One series is one record, and all its memory lies together: a score touches about ten cache pages once
instead of twenty arrays far apart, `state[a:b]` is a share of the work for a thread, growing is one
concatenation, and a snapshot is one array.
"""

import numpy as np

__all__ = [
    "BINS",
    "BLOCKS",
    "CHANNELS",
    "CODEBOOK",
    "COURSE",
    "FLATLINE",
    "GAPS",
    "JUMP",
    "LEVEL",
    "MOMENT",
    "NOTHING",
    "REASONS",
    "SCORE",
    "SEASON",
    "SERIES",
    "SILENCE",
    "SLOTS",
    "VALUE",
    "WEEK_BLOCKS",
]

# Channels, and the two reasons that are rules rather than channels.
VALUE, LEVEL, COURSE, JUMP, SEASON = range(5)
CHANNELS = 5
FLATLINE, SILENCE, NOTHING = 5, 6, -1
REASONS = (
    "value_never_seen",
    "level_never_seen",
    "off_course",
    "jump",
    "off_season",
    "flatline",
    "silence",
    "",
)
"""Reason by code; the last one, reached by index -1, is "nothing"."""

CODEBOOK = 496  # values remembered per novelty channel
BINS = 128  # of a channel's histogram of its own past scores
BLOCKS = 16  # maxima that make up the refractory window
SLOTS = 96  # of the day: a quarter of an hour each
WEEK_BLOCKS = 28  # of the week: six hours each
GAPS = 16  # bins of the lengths of past gaps

SERIES = np.dtype(
    [
        ("points", "i8"),  # values seen
        ("missing", "i4"),  # intervals without one, in gaps that have ended
        ("gap", "i4"),  # intervals without one since the last value
        ("repeats", "i4"),  # values equal to the one before
        ("run", "i4"),  # equal values in a row, the last one included
        ("longest_run", "i4"),  # of all runs that have ended
        ("origin", "f8"),  # first value: codebooks and slots hold float32 differences from it
        ("mean", "f8"),
        ("variance", "f8"),
        ("course", "f8"),  # exponential mean with a half-life of some points
        ("last", "f8"),
        ("spread", "f8", (2,)),  # mean absolute residual: against the course, against the last value
        ("daily", "f8"),  # mean absolute residual against the season of the day
        ("weekly", "f8"),  # the same with the blocks of the week added
        ("plain", "f8"),  # the same against the median of about a day: what a season must beat
        ("drift", "f8"),  # level above the season, half-life one day
        ("day_median", "f8"),  # level without season, of about a day
        ("records", "f4", (2,)),  # lows and highs beyond all seen that came one by one, slowly forgotten
        ("last_record", "i8", (2,)),  # points seen at the last of each
        ("alarms", "i4"),  # scores that could open an event
        ("season_points", "i4"),  # values that the season has predicted
        ("week_points", "i4"),  # values that the blocks of the week have predicted
        ("seasons_off", "i4"),  # times the series left its season
        ("counted", "i4", (CHANNELS,)),  # scores in each histogram
        ("filled", "i4", (2,)),  # entries in each codebook
        ("penalty", "f4", (CHANNELS,)),  # added by feedback
        ("tops", "f4", (BLOCKS,)),  # highest surprise in each block of the refractory window
        ("off_season", "?"),  # the last value was far from its season
        ("silent", "i1"),  # silence of the present gap has been reported
        ("accused", "i1"),  # channel of the last score that could open an event
        ("slots_seen", "u2", (SLOTS,)),
        ("blocks_seen", "u2", (WEEK_BLOCKS,)),
        ("gaps", "u2", (GAPS,)),  # past gaps by length
        ("slots", "f4", (SLOTS,)),
        ("slot_spread", "f4", (SLOTS,)),  # mean absolute residual at this time of the day
        ("blocks", "f4", (WEEK_BLOCKS,)),
        ("histogram", "u4", (CHANNELS, BINS)),
        ("codebook", "f4", (2, CODEBOOK)),
    ],
    align=True,
)
"""One series. Zeros are a series that has seen nothing."""

MOMENT = np.dtype(
    [
        ("slot", "f8"),  # position in the day, in slots; below 0: no season
        ("share", "f8"),  # of the way that means with a half-life of one day go in this step
        ("block", "i8"),  # of the week, UTC or the scorer's zone
        ("skipped", "i8"),  # intervals since the last call that nobody told: missing for all series
    ]
)
"""One interval, as all series meet it."""

SCORE = np.dtype(
    [
        ("expected", "f8"),
        ("low", "f8"),
        ("high", "f8"),
        ("severity", "f4"),  # damped: one high point per event
        ("undamped", "f4"),
        ("reason", "i1"),
        ("in_event", "?"),  # an event of this series is open after this value
    ],
    align=True,
)
"""What the kernel says of one value. Severities are 0 to 100."""
