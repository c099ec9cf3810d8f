"""The kernel: how surprising is this value, for this series, given all before it.

One value of one series goes through `score`. Several channels look at it, each in its own way:

    value, level    how far is it (or the smoothed course) from everything seen before      novelty
    course, jump    how far is it from where the series was heading, from the last value    deviation
    season          how far is it from what this time of the day and week brings            deviation

Raw distances of different series cannot be compared: a flat series makes any ratio explode. So each channel
keeps a histogram of its own past scores and answers with a rarity, -log10 of the share of its past that was as
far out. Rare *and* big beats merely rare, hence an effect size is added; and a channel that is often wrong
carries a penalty. The most surprised channel wins and is the reason. Flat lines and silence are rules of their
own. At last the surprise is damped, so that one event makes one high point, and drawn on a scale of 0 to 100.

State in, state and score out. Nothing is random, nothing is shared between series, and nothing looks ahead:
the score of a value depends on that series up to that value alone.

Sources: novelty by the distance to past values is the conformal view of V. Ishimtsev et al., "Conformal k-NN
anomaly detector for univariate data streams", COPA 2017; the tail beyond all that was seen follows A. Siffer et
al., "Anomaly detection in streams with extreme value theory", KDD 2017; the benchmark that shaped the choice is
A. Lavin and S. Ahmad, "Evaluating real-time anomaly detection algorithms", ICMLA 2015.
"""

# mypy: disable-error-code="no-any-return, arg-type, return-value"
# Annotations are for the reader; numba infers the machine types from the records.

from typing import Any

import numpy as np

from masthead.learn.compiled import compiled
from masthead.metrics.state import (
    CHANNELS,
    COURSE,
    FLATLINE,
    JUMP,
    LEVEL,
    NOTHING,
    SEASON,
    SILENCE,
    VALUE,
)

# Sizes are asked of the arrays, never imported: compiled functions are kept on disk as long as this file stays the
# same, and one that remembered another layout would write beyond a series.

__all__ = ["score_all"]

# A record of `SERIES`, `MOMENT`, `SCORE` or `PARAMETERS` (told by the argument's name), or an array.
Record = Any
Array = Any

LN10 = np.log(10.0)
# Histograms divide the logarithm of a score evenly: 1e-6 to 148, a factor of 1.16 per bin.
LOG_LOW, LOG_HIGH = -13.8155, 5.0
OPENING = 50.0  # severity at which an event opens
FARTHEST = 100.0  # residual ratios beyond this are alike


@compiled
def score_all(
    series: Array,
    first: int,
    end: int,
    values: Array,
    moments: Array,
    parameters: Array,
    silence: bool,
    in_event: Array,
    scores: Array,
) -> None:
    """Fill `scores` (steps, series) for `values` (steps, series) float64, NaN = missing, of series first to end - 1.

    Each series walks through all its steps before the next one starts, so its memory is fetched once. `in_event`
    (series,) bool tells whether an event of the series is open before the first step.
    """
    for i in range(first, end):
        event = in_event[i]
        for k in range(len(values)):
            score(series[i], values[k, i], moments[k], parameters[0], silence, scores[k, i])
            event = tell_reason(event, not np.isnan(values[k, i]), scores[k, i])


@compiled
def tell_reason(event: bool, has_value: bool, out: Record) -> bool:
    """Leave a reason only where there is something to say; return whether an event is open after this score.

    The most surprised channel of an ordinary value says nothing. An event opens at severity 50 and lasts while the
    undamped severity stays there; a missing value neither extends nor ends it. Flat lines and silence are rules: where
    they speak there is something to say, also while a greater surprise damps them.
    """
    if has_value:
        event = out.severity >= OPENING or (event and out.undamped >= OPENING)
        if not event and out.reason != FLATLINE:
            out.reason = NOTHING
    out.in_event = event
    return event


@compiled
def score(s: Record, x: float, moment: Record, p: Record, silence: bool, out: Record) -> None:
    """Score one value and learn it."""
    if s.points > 0:
        s.gap += moment.skipped
    out.expected, out.low, out.high = np.nan, np.nan, np.nan
    if np.isnan(x):
        miss(s, p, silence, out)
        return
    close_gap(s)
    day, week, trust, weeks = forecast(s, moment, p)
    expect(s, week if weeks else day, trust, weeks, p, out)
    surprise, reason = surprises(s, x, p)
    against_season = season(s, x, day, week, weeks, moment, p)
    if trust and against_season > surprise:
        surprise, reason = against_season, SEASON
    if moment.slot >= 0.0:
        learn_season(s, x, day, week, weeks, moment, p)
    s.last = x
    highest = surprise > top(s, p)
    remember(s, surprise, p)
    surprise = paced(s, surprise, p)
    damped = surprise if highest else p.damping * surprise
    s.alarms += damped >= 3.4
    s.points += 1
    out.severity = severity(damped)
    out.undamped = severity(surprise)
    out.reason = reason
    if reason < CHANNELS and out.undamped >= OPENING:
        s.accused = reason


@compiled
def surprises(s: Record, x: float, p: Record) -> Any:
    """Return the highest surprise of all channels that know no time, and that channel; each learns x."""
    scale, off_course, off_last = track(s, x, p)
    best, reason = 0.0, NOTHING
    for channel in (VALUE, LEVEL):
        v = np.float32((x if channel == VALUE else s.course) - s.origin)
        side = outside(s, channel, v)
        if channel == VALUE:
            count_record(s, side, p)
        distance = novelty(s, channel, v) / scale
        rarity = rank(s, channel, distance, p.novelty_tail, True, p)
        effect = min(max(np.log10(max(distance, 1e-4)), -3.0), 0.5) + 3.0
        penalty = s.penalty[channel] + (p.value_penalty if channel == VALUE else p.level_penalty)
        surprise = rarity + p.effect_weight * effect - penalty - trend_penalty(s, side, distance, p)
        if rarity >= 0.0 and surprise > best:
            best, reason = surprise, channel
    for channel in (COURSE, JUMP):
        residual = off_course if channel == COURSE else off_last
        ratio = residual_ratio(s, channel - COURSE, residual, p)
        surprise = deviation(s, channel, ratio, p.deviation_penalty, p.deviation_tail, True, p)
        if surprise > best:
            best, reason = surprise, channel
    surprise = flatness(s, x, p)
    if surprise > best:
        best, reason = surprise, FLATLINE
    return best, reason


# Level, scale and course ---------------------------------------------------------------------------------------


@compiled
def track(s: Record, x: float, p: Record) -> Any:
    """Move mean, variance and course by x; return the scale, and how far x lay from course and last value."""
    if s.points == 0:
        s.origin = s.mean = s.course = s.last = x
    fresh = 1.0 / (s.points + 1)
    error = x - s.mean
    rate = max(fresh, 1.0 / p.scale_memory)
    s.mean += rate * error
    s.variance += rate * (error * error - s.variance)
    off_course, off_last = abs(x - s.course), abs(x - s.last)
    s.course += max(p.course_rate, fresh) * (x - s.course)
    return max(np.sqrt(s.variance), 1e-9), off_course, off_last


@compiled
def residual_ratio(s: Record, which: int, residual: float, p: Record) -> float:
    """Return a residual in units of its usual size, and learn it."""
    usual = s.spread[which]
    ratio = min(residual / usual, FARTHEST) if s.points > 10 and usual > 0.0 else 0.0
    s.spread[which] = widened(usual, residual, s.points, p.spread_clip, p)
    return ratio


@compiled
def widened(usual: float, residual: float, points: int, clip: float, p: Record) -> float:
    """Return the mean absolute residual after one more.

    An anomaly must not widen the band that should catch it: after 50 points one residual counts for at most
    `clip` usual ones.
    """
    if points >= 50 and usual > 0.0:
        residual = min(residual, clip * usual)
    return usual + max(p.spread_rate, 1.0 / (points + 1)) * (residual - usual)


# Novelty: a codebook of values seen ----------------------------------------------------------------------------


@compiled
def novelty(s: Record, channel: int, v: float) -> float:
    """Return the distance from v to the nearest value seen, and remember v."""
    book, filled = s.codebook[channel], s.filled[channel]
    if filled == 0:
        book[0] = v
        s.filled[channel] = 1
        return 0.0
    at = np.searchsorted(book[:filled], v)
    distance = np.float32(np.inf)
    if at < filled:
        distance = book[at] - v
    if at > 0:
        distance = min(distance, v - book[at - 1])
    if distance > 0:
        s.filled[channel] = insert(book, filled, at, v)
    return distance


@compiled
def insert(book: Array, filled: int, at: int, v: float) -> int:
    """Insert v at its place in the sorted book; return how many entries it holds.

    Nothing is forgotten by age (ageing cost 4 to 6 points of the NAB score). When the book is full, the entry
    goes whose absence changes least: the one whose neighbours lie closest together.
    """
    size = len(book)
    if filled < size:
        for j in range(filled, at, -1):
            book[j] = book[j - 1]
        book[at] = v
        return filled + 1
    closest, victim = np.float32(np.inf), 1
    for j in range(1, size - 1):
        gap = book[j + 1] - book[j - 1]
        if gap < closest:
            closest, victim = gap, j
    if 0 < at < size and book[at] - book[at - 1] < closest:
        return filled  # v itself would be the first to go
    if victim < at:
        for j in range(victim, at - 1):
            book[j] = book[j + 1]
        book[at - 1] = v
    else:
        for j in range(victim, at, -1):
            book[j] = book[j - 1]
        book[at] = v
    return filled


# Trend: new highs, or lows, that keep coming --------------------------------------------------------------------


@compiled
def outside(s: Record, channel: int, v: float) -> int:
    """Return 0 for a value below all seen, 1 above all, -1 within; a full book keeps its first and last entry."""
    book, filled = s.codebook[channel], s.filled[channel]
    if filled == 0:
        return -1
    return 0 if v < book[0] else 1 if v > book[filled - 1] else -1


@compiled
def count_record(s: Record, side: int, p: Record) -> None:
    """Count a record low (side 0) or high (1), unless the one before it is younger than `record_gap` points.

    The first records of a series say nothing: every value is one.
    """
    s.records[0] *= p.record_keep
    s.records[1] *= p.record_keep
    if side >= 0 and s.points >= p.record_gap and s.points - s.last_record[side] > p.record_gap:
        s.records[side] += np.float32(1.0)
        s.last_record[side] = s.points


@compiled
def trend_penalty(s: Record, side: int, distance: float, p: Record) -> float:
    """Return how much less a record surprises in a series whose records keep coming on that side.

    Values without a trend set about ln(points) records, as many highs as lows. A trend sets them for ever, on one
    side, each a value never seen: without this a slow one alarmed 2.4 times as often as stated. A trend's own
    records are small steps: one that lies `trend_reach` scales beyond all seen is news as everywhere.
    """
    if side < 0 or distance >= p.trend_reach:
        return 0.0
    lean = (s.records[side] - s.records[1 - side]) / p.trend_prior + 1.0
    if lean <= p.trend_from:
        return 0.0
    near = min((p.trend_reach - distance) / (p.trend_reach - 1.0), 1.0)
    return near * min(p.trend_weight * np.log10(lean / p.trend_from), p.trend_limit)


# Calibration: rarity among the channel's own past scores -------------------------------------------------------


@compiled
def rank(s: Record, channel: int, raw: float, tail: float, counts: bool, p: Record) -> float:
    """Return -log10 of the share of the channel's past scores that reach `raw`, below 0 if too few; count `raw`."""
    histogram, counted = s.histogram[channel], s.counted[channel]
    log = np.log(max(raw, 1e-6))
    b = bin_of(log, len(histogram))
    rarity = -1.0
    if counted >= p.min_points:
        above = np.uint32(0)
        for j in range(b + 1, len(histogram)):
            above += histogram[j]
        rarity = np.log10((counted + 1.0) / (above + 0.5 * histogram[b] + 0.5))
        if above == 0 and histogram[b] == 0 and tail > 0.0:
            rarity += min(tail * beyond(histogram, b, log, counted, p), p.tail_limit)
    if counts:
        histogram[b] += np.uint32(1)
    s.counted[channel] = counted + 1
    return rarity


@compiled
def bin_of(log: float, bins: int) -> int:
    """Return the bin of a score's logarithm."""
    return min(max(int((log - LOG_LOW) * (bins / (LOG_HIGH - LOG_LOW))), 0), bins - 1)


@compiled
def beyond(histogram: Array, b: int, log: float, counted: int, p: Record) -> float:
    """Return the powers of ten that a score above all past ones is rarer than "never seen".

    Peaks over a threshold with shape 0: above the threshold that `tail_points` past scores exceed, the logarithm
    of the score is taken to fall off exponentially, with the mean excess of those scores.
    """
    j, count, weighted = b, 0.0, 0.0
    highest = -1
    enough = max(p.tail_points, np.sqrt(counted))
    while j > 0 and count < enough:
        j -= 1
        if histogram[j] > 0:
            highest = max(highest, j)
            count += histogram[j]
            weighted += histogram[j] * (j + 0.5)
    if count < enough:
        return 0.0
    width = (LOG_HIGH - LOG_LOW) / len(histogram)
    mean_excess = max(weighted / count - j, 0.5) * width
    distance = log - (LOG_LOW + (highest + 1) * width)
    return max(distance, 0.0) / (mean_excess * LN10)


@compiled
def deviation(
    s: Record, channel: int, ratio: float, penalty: float, tail: float, counts: bool, p: Record
) -> float:
    """Return the surprise of a residual that is `ratio` times its usual size."""
    rarity = rank(s, channel, ratio, tail, counts, p)
    if rarity < 0.0:
        return 0.0
    effect = min(max(np.log10(max(ratio, 1e-9)), 0.0), 1.5) + 1.0
    return rarity + p.effect_weight * effect - penalty - s.penalty[channel]


# Season: the day in slots, the week in blocks -------------------------------------------------------------------


@compiled
def corners(slot: float, p: Record) -> Any:
    """Return the slots left and right of a position in the day, and the share of the right one.

    Between the middles of two slots the season of the day is a straight line: steps would show in the residuals.
    """
    left = int(slot)
    return left, (left + 1) % int(p.slots), slot - left


@compiled
def forecast(s: Record, moment: Record, p: Record) -> Any:
    """Return what the season predicts by day and by week, whether to trust it, and whether to take the week.

    NaN stands for a prediction that cannot be made yet. Trust asks for two full cycles and for a mean error
    clearly below that of a model without season: a season that does not predict must not speak.
    """
    if moment.slot < 0.0:
        return np.nan, np.nan, False, False
    left, right, share = corners(moment.slot, p)
    seen_left, seen_right = s.slots_seen[left], s.slots_seen[right]
    if seen_left == 0 and seen_right == 0:
        return np.nan, np.nan, False, False
    weight = 1.0 if seen_left == 0 else 0.0 if seen_right == 0 else share
    day = s.origin + s.drift + (1.0 - weight) * s.slots[left] + weight * s.slots[right]
    week = day + s.blocks[moment.block]
    weeks = s.blocks_seen[moment.block] >= 2.0 * p.block_hits and 0.0 < s.weekly < p.week_trust * s.daily
    ready = (seen_right if share > 0.5 else seen_left) >= 2.0 * p.slot_hits and s.season_points > p.min_points
    return day, week, ready and (s.weekly if weeks else s.daily) < p.season_trust * s.plain, weeks


@compiled
def season(s: Record, x: float, day: float, week: float, weeks: bool, moment: Record, p: Record) -> float:
    """Return the surprise of x against its season and learn the errors of all three predictions."""
    if np.isnan(day):
        return 0.0
    off = abs(x - (week if weeks else day))
    usual = max(usual_here(s, moment, s.weekly if weeks else s.daily, p), p.season_floor * s.plain)
    surprise = 0.0
    if s.season_points > 10 and usual > 0.0:
        ratio = min(off / usual, FARTHEST)
        surprise = deviation(s, SEASON, ratio, p.season_penalty, p.season_tail, witness(s, ratio, p), p)
    s.plain = widened(s.plain, abs(x - s.day_median), s.season_points, p.season_clip, p)
    s.daily = widened(s.daily, abs(x - day), s.season_points, p.season_clip, p)
    s.season_points += 1
    if s.blocks_seen[moment.block] >= p.block_hits:  # the week has been this way before
        s.weekly = widened(s.weekly, abs(x - week), s.week_points, p.season_clip, p)
        s.week_points += 1
    return surprise


@compiled
def usual_here(s: Record, moment: Record, usual: float, p: Record) -> float:
    """Return the usual error at this time of the day: its own, leaning on the whole day's until it is known.

    Some hours are hard to predict (the edge of a shift, a rush hour), others, such as nights, are easy.
    """
    left, right, share = corners(moment.slot, p)
    nearest = right if share > 0.5 else left
    known = s.slots_seen[nearest] / (s.slots_seen[nearest] + p.slot_spread_prior)
    return known * s.slot_spread[nearest] + (1.0 - known) * usual


@compiled
def witness(s: Record, ratio: float, p: Record) -> bool:
    """Return whether a ratio shall count among the ordinary ones.

    Hours out of season are one event, so only their first value may count. And of events every third does: if
    each did, a fault that comes back would soon be ordinary; if none did, heavy tails would alarm for ever.
    """
    if ratio <= p.season_far:
        s.off_season = False
        return True
    begins = not s.off_season
    s.off_season = True
    s.seasons_off += begins
    return begins and s.seasons_off % int(p.season_witness) == 0


@compiled
def learn_season(
    s: Record, x: float, day: float, week: float, weeks: bool, moment: Record, p: Record
) -> None:
    """Move slots, block and drift towards x; residuals are cut so that an anomaly does not become the season."""
    if s.points == 0:
        s.day_median = x
    # Half of the values lie on either side of it. A mean would be far from most values of a series with rare
    # spikes, and any season would beat it.
    step = max(2.0 * moment.share, 1.0 / (s.points + 1)) * np.sqrt(s.variance)
    s.day_median += step if x > s.day_median else -step if x < s.day_median else 0.0
    left, right, share = corners(moment.slot, p)
    nearest, other, weight = (right, left, share) if share > 0.5 else (left, right, 1.0 - share)
    seen = s.slots_seen[nearest]
    s.slots_seen[nearest] = min(seen + 1, 65535)
    if seen == 0:
        s.slots[nearest] = x - s.origin - s.drift
        return
    error = x - (week if weeks else day)
    s.drift += moment.share * error
    limit = p.season_clip * s.daily if s.season_points > 50 else np.inf
    cut = min(max(error, -limit), limit)
    rate = max(1.0 / (seen + 1.0), 1.0 / p.slot_memory)
    s.slots[nearest] += rate * weight * cut
    if s.slots_seen[other] > 0:
        s.slots[other] += rate * (1.0 - weight) * cut
    rate = max(1.0 / (seen + 1.0), 1.0 / (p.slot_spread_cycles * p.slot_hits))
    s.slot_spread[nearest] += rate * (abs(cut) - s.slot_spread[nearest])
    # The week learns what the day leaves over.
    seen = s.blocks_seen[moment.block]
    s.blocks_seen[moment.block] = min(seen + 1, 65535)
    s.blocks[moment.block] += max(1.0 / (seen + 1.0), 1.0 / p.block_memory) * min(
        max(x - week, -limit), limit
    )


# Flat lines and silence -----------------------------------------------------------------------------------------


@compiled
def flatness(s: Record, x: float, p: Record) -> float:
    """Return the surprise of a run of equal values, against how often this series repeats itself."""
    if s.points == 0 or x != s.last:
        # A run that stood out counts half: its repeat is still news, its repeat every night soon no longer.
        unusual = s.run >= p.flat_points and s.run > p.flat_factor * s.longest_run
        s.longest_run = max(s.longest_run, s.run // 2 if unusual else s.run)
        s.run = 1
        return 0.0
    s.run += 1
    s.repeats += 1
    if s.run < p.flat_points or s.run <= p.flat_factor * s.longest_run or s.points < 100:
        return 0.0
    usual = s.repeats - (s.run - 1)  # this run is no witness for itself
    evidence = (s.run - 1) * np.log10((s.points + 1.0) / (usual + 0.5))
    return p.flat_surprise if evidence >= p.flat_evidence else 0.0


@compiled
def miss(s: Record, p: Record, silence: bool, out: Record) -> None:
    """Count a missing interval; report silence when so long a gap is not what this series does."""
    out.severity, out.undamped, out.reason = 0.0, 0.0, NOTHING
    if s.points == 0:
        return
    s.gap += 1
    if not silence or not is_silent(s, p):
        return
    out.severity = severity(p.damping * p.silence_surprise if s.silent else p.silence_surprise)
    out.undamped = severity(p.silence_surprise)
    out.reason = SILENCE
    s.silent = 1


@compiled
def is_silent(s: Record, p: Record) -> bool:
    """Return whether the present gap is too long for chance and for the gaps this series had before.

    By chance: if each interval is missing with the rate seen, a gap this long has a probability below
    10^-silence_evidence. Before: a series that stops every night had as long a gap each night.
    """
    if s.gap < p.silence_points:
        return False
    intervals = s.points + s.missing
    if s.gap * np.log10((intervals + 1.0) / (s.missing + 0.5)) < p.silence_evidence:
        return False
    longer = 0
    for j in range(gap_bin(s.gap, len(s.gaps)), len(s.gaps)):
        longer += s.gaps[j]
    return longer <= max(1.0, p.silence_share * intervals)


@compiled
def close_gap(s: Record) -> None:
    """Remember the length of the gap that the value at hand ends."""
    if s.gap > 0:
        b = gap_bin(s.gap, len(s.gaps))
        if s.gaps[b] < 65535:
            s.gaps[b] += 1
        s.missing += s.gap
        s.gap = 0
    s.silent = 0


@compiled
def gap_bin(gap: int, bins: int) -> int:
    """Return the bin of a gap: 1, 2, 3, 4, then two bins per doubling, the last from 182 intervals on."""
    if gap <= 4:
        return gap - 1
    b, edge = 4, 4.0 * np.sqrt(2.0)
    while gap > edge and b < bins - 1:
        b += 1
        edge *= np.sqrt(2.0)
    return b


# Damping, severity, expectation ---------------------------------------------------------------------------------


@compiled
def paced(s: Record, surprise: float, p: Record) -> float:
    """Return the surprise less what this series has cried too often.

    Severity 50 promises at most one alert in 1,000 points. Where more have been given, whatever the reason, a
    surprise is worth that much less: what nearly alarms from `pace_soft` times the promise on, what does alarm only
    from `pace_hard` times. Many alarms may be many true events, and the next of them must not be lost to the first.
    """
    given = (s.alarms + p.pace_prior) / (s.points * 1e-3 + p.pace_prior)
    if given <= p.pace_soft:
        return surprise
    faint = min(max(3.4 - surprise, 0.0), 1.0)
    less = faint * np.log10(given / p.pace_soft)
    if given > p.pace_hard:
        less += (1.0 - faint) * np.log10(given / p.pace_hard)
    return max(0.0, surprise - p.pace_weight * less)


@compiled
def block_length(s: Record, p: Record) -> int:
    """Return how many points share a block of the refractory window."""
    return max(1, int(p.refractory) // len(s.tops))


@compiled
def present_block(s: Record, p: Record) -> int:
    """Return the block of the refractory window that the present value falls in."""
    return (s.points // block_length(s, p)) % len(s.tops)


@compiled
def top(s: Record, p: Record) -> float:
    """Return the highest surprise of the refractory window, forgetting its oldest block when a new one begins."""
    if s.points % block_length(s, p) == 0:
        s.tops[present_block(s, p)] = 0.0
    return s.tops.max()


@compiled
def remember(s: Record, surprise: float, p: Record) -> None:
    """Keep the surprise in its block of the refractory window."""
    block = present_block(s, p)
    s.tops[block] = max(s.tops[block], np.float32(surprise))


@compiled
def severity(surprise: float) -> float:
    """Return 0 to 100: at most 1 false alert per 1,000 clean points at 50, 10,000 at 70, 100,000 at 90.

    Strictly rising, so that an order by severity is the order by surprise. The knots are measured: the surprise
    that one of so many points of gamma noise exceeds, the worst of five kinds of clean data.
    """
    if surprise < 3.4:
        return 50.0 * surprise / 3.4
    if surprise < 4.7:
        return 50.0 + 20.0 * (surprise - 3.4) / 1.3
    if surprise < 5.9:
        return 70.0 + 20.0 * (surprise - 4.7) / 1.2
    return 100.0 - 10.0 * np.exp((5.9 - surprise) / 0.6)


@compiled
def expect(s: Record, seasonal: float, trust: bool, weeks: bool, p: Record, out: Record) -> None:
    """Tell what was expected before the value came: the season where it is trusted, else the course."""
    if s.points == 0:
        return
    expected, usual = s.course, s.spread[0]
    if trust:
        expected, usual = seasonal, s.weekly if weeks else s.daily
    out.expected = expected
    out.low = expected - p.band_width * usual
    out.high = expected + p.band_width * usual
