"""The one configuration of the kernel, frozen, and its hash.

Every number that steers a score and could have been another stands here. Change one, and the hash printed
by each benchmark changes with it; the count of configurations that were ever scored stands in the room's
README. Sizes of the state (codebook, histogram, slots) are in `state.py` and enter the hash too.
"""

import hashlib
import json
from dataclasses import asdict, dataclass

from masthead.metrics.state import SERIES

__all__ = ["DEFAULT", "KERNEL_VERSION", "Configuration", "configuration_hash"]

KERNEL_VERSION = 2
"""Raised whenever the kernel gives other numbers for the same configuration: old snapshots are then refused."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the kernel is told; half-lives and memories are counted in points of the series."""

    # Level and scale of a series: mean and variance over about this many points.
    scale_memory: float = 2000.0
    # The course is where the next value is expected without a season: an exponential mean.
    course_half_life: float = 8.0
    # Mean absolute residuals, and by how many of them one point may at most move them.
    spread_half_life: float = 500.0
    spread_clip: float = 2.5
    # Points a channel counts before its first score: fewer say nothing about rarity.
    min_points: float = 21.0
    # Surprise = rarity + effect size - penalty, per channel. Without a penalty every added channel adds its own
    # false alerts: equal weights cost 8 to 21 points of the NAB score.
    effect_weight: float = 0.6
    value_penalty: float = 0.0
    level_penalty: float = 0.3
    deviation_penalty: float = 1.2
    season_penalty: float = 1.2
    # Beyond the top filled bin of a histogram rarity goes on as an exponential tail in the logarithm of the score,
    # fitted to at least this many of the largest scores, by at most this many powers of ten.
    tail_points: float = 8.0
    novelty_tail: float = 0.0
    deviation_tail: float = 0.0
    season_tail: float = 1.0
    tail_limit: float = 3.0
    # Damping: a surprise counts in full only above all of the last so many points.
    refractory: float = 100.0
    damping: float = 0.3
    pace_weight: float = 3.0
    pace_prior: float = 3.0
    pace_soft: float = 1.2
    pace_hard: float = 2.0
    # A trend: records at least so many points apart are counted, with this half-life; a lean of the counts to one
    # side lowers the surprise of the next record there.
    record_gap: float = 100.0
    record_half_life: float = 10_000.0
    trend_weight: float = 5.0
    trend_prior: float = 4.0
    trend_from: float = 1.3
    trend_limit: float = 1.5
    trend_reach: float = 3.0
    # The season: cycles it remembers, cycles before it may predict, and the share of the error of a model without
    # season that it must stay below to be trusted.
    season_cycles: float = 8.0
    week_cycles: float = 4.0
    season_trust: float = 0.75
    week_trust: float = 0.95
    season_clip: float = 4.0
    season_far: float = 4.0
    season_floor: float = 0.1
    slot_spread_cycles: float = 24.0
    slot_spread_prior: float = 6.0
    season_witness: float = 3.0
    # A flat line: at least so many equal values in a row, so many times the longest run before, and less likely
    # by chance than 10^-flat_evidence.
    flat_points: float = 6.0
    flat_factor: float = 3.0
    flat_evidence: float = 8.0
    flat_surprise: float = 4.8
    # Silence: at least so many missing in a row, less likely by chance than 10^-silence_evidence, and at most
    # one longer gap seen, or fewer than this share of gaps per interval.
    silence_points: float = 3.0
    silence_evidence: float = 6.5
    silence_share: float = 0.001
    silence_surprise: float = 4.8
    # Half width of the shown band, in mean absolute residuals (3.2 standard deviations of a Gaussian).
    band_width: float = 4.0
    # Feedback "this was no anomaly" adds this penalty to the channel, up to the limit.
    feedback_penalty: float = 0.3
    feedback_limit: float = 1.5


DEFAULT = Configuration()


def configuration_hash(configuration: Configuration = DEFAULT) -> str:
    """Return 16 hexadecimal digits that change with any number, size or rule behind a score.

    >>> configuration_hash() == configuration_hash(Configuration(refractory=60)), len(configuration_hash())
    (False, 16)
    """
    told = {"kernel": KERNEL_VERSION, "state": repr(SERIES.descr), **asdict(configuration)}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
