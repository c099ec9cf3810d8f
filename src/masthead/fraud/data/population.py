"""Customers, rings and lone thieves who pay over 180 days: arrays of what each transaction shares with others.

What makes it a test: 72 % of the fraud comes from rings (2-6 fresh devices, 3-8 addresses of which half are busy
shared ones, stolen and new cards, alive for 1.5 to 16 days), and one such payment alone looks almost normal; 28 % is
lone fraud with a signature in the numbers. Hard to tell from fraud: kiosks, households, newcomers, changed devices.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["DAY_S", "LONE", "SPAN_S", "WIDTH", "Population", "populate"]

DAY_S, SPAN_S = 86_400, 180 * 86_400.0
WIDTH = 16
LONE = -2
"""Number of the ring of a lone fraud; -1 is legitimate."""
_RING_SHARE, _LONE_SHARE = 0.025, 0.01
_BANKS, _REGIONS, _COUNTRIES, _DOMAINS, _MODELS = 500, 332, 74, 60, 1800
_PRODUCTS = 5

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Parts = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Population:
    """All transactions, in the order of time.

    Attributes:
        columns: Name -> (n,): `t` seconds from the first day, `card bank country network product_line kind product
            region land payer payee model device address` integers, `amount`, `opened` day of the card, `ring`.
        numbers: (n, 16) what else is measured of each.
    """

    columns: Parts
    numbers: Floats


@dataclass(frozen=True, slots=True)
class _Customers:
    """Who pays, with what each one keeps."""

    start: Floats
    activity: Floats
    traits: dict[str, Ints]
    household: Ints
    changes: NDArray[np.bool_]
    opened: Ints
    taste: Floats
    shared: int
    kiosks: int

    def __len__(self) -> int:
        return len(self.start)


def populate(transactions: int, seed: int) -> Population:
    """Return exactly so many transactions; the same for the same arguments.

    Args:
        transactions: 1 or more; 3.5 % are fraud.
    """
    ringed, lone = round(_RING_SHARE * transactions), round(_LONE_SHARE * transactions)
    streams = iter(np.random.default_rng(one) for one in np.random.SeedSequence(seed).spawn(5))
    who = _customers(transactions, next(streams))
    mix = np.random.default_rng(0).normal(size=(6, WIDTH)) * 0.6
    parts = [
        _legitimate(who, transactions - ringed - lone, mix, next(streams)),
        *_rings(who, ringed, mix, next(streams)),
        _lone(who, lone, mix, next(streams)),
    ]
    columns = {name: np.concatenate([part[name] for part, _ in parts]) for name in parts[0][0]}
    numbers = np.concatenate([values for _, values in parts])
    shuffled = next(streams).permutation(transactions)  # equal times must not tell who is who either
    order = shuffled[np.argsort(columns["t"][shuffled], kind="stable")]
    return Population({name: values[order] for name, values in columns.items()}, numbers[order])


def _zipf(rng: np.random.Generator, among: int, size: int, power: float = 1.1) -> Ints:
    share = 1 / np.arange(1, among + 1) ** power
    return rng.choice(among, size=size, p=share / share.sum())


def _customers(transactions: int, rng: np.random.Generator) -> _Customers:
    n = max(10, round(0.14 * transactions))
    start = np.where(rng.random(n) < 0.5, 0, rng.random(n) * SPAN_S)  # half join later
    bank = _zipf(rng, _BANKS, n)
    traits = {
        "bank": bank,
        "country": rng.choice(3, n, p=[0.88, 0.1, 0.02]),
        "network": rng.choice(4, n, p=[0.65, 0.3, 0.03, 0.02]),
        "product_line": (bank * 7 + rng.integers(0, 3, n)) % 110,
        "kind": rng.choice(4, n, p=[0.74, 0.25, 0.006, 0.004]),
        "region": _zipf(rng, _REGIONS, n, 0.8),
        "land": np.where(rng.random(n) < 0.9, 0, 1 + _zipf(rng, _COUNTRIES - 1, n)),
        "email": _zipf(rng, _DOMAINS, n, 1.2),
        "model": _zipf(rng, _MODELS, n, 0.9),
    }
    return _Customers(
        start=start,
        activity=rng.lognormal(0, 1, n) * (1 - start / SPAN_S),
        traits=traits,
        household=rng.integers(0, n // 2, n),
        changes=rng.random(n) < 0.35,
        opened=np.floor(start / DAY_S).astype(np.int64) - _age_of_card(n, rng),
        taste=rng.normal(size=(n, 6)),
        shared=max(3, round(0.006 * transactions)),
        kiosks=max(2, round(0.0006 * transactions)),
    )


def _numbers(who: _Customers, whose: Ints, mix: Floats, rng: np.random.Generator) -> Floats:
    # A sum of products in a fixed order: a matrix product may round otherwise on another number of threads.
    found = rng.normal(size=(len(whose), WIDTH))
    for place in range(mix.shape[0]):
        found += who.taste[whose, place, None] * mix[place]
    return found


def _joined(who: _Customers, by: Floats, rng: np.random.Generator) -> Ints:
    """Return one customer for each moment who had joined by then: nobody steals a card before it is opened."""
    order = np.argsort(who.start, kind="stable")
    known = np.maximum(np.searchsorted(who.start[order], by, side="right"), 1)
    return order[(rng.random(len(by)) * known).astype(np.int64)]


def _card_traits(who: _Customers, owner: Ints) -> Parts:
    return {name: who.traits[name][owner] for name in ("bank", "country", "network", "product_line", "kind")}


def _age_of_card(n: int, rng: np.random.Generator) -> Ints:
    """Return how many days before its first payment here a card was opened."""
    return rng.integers(0, 500, n) * (rng.random(n) < 0.8)


def _legitimate(who: _Customers, n: int, mix: Floats, rng: np.random.Generator) -> tuple[Parts, Floats]:
    """Return what customers pay: from 1 to 3 devices that change over time, some from a shared address or a kiosk."""
    owner = rng.choice(len(who), n, p=who.activity / who.activity.sum())
    t = who.start[owner] + rng.random(n) * (SPAN_S - who.start[owner])
    t = np.floor(t / DAY_S) * DAY_S + np.clip(rng.normal(15, 4.5, n), 0, 23.99) * 3600
    season = (t // (DAY_S * 60)).astype(np.int64)
    device = owner * 6 + (rng.random(n) < 0.2) + 2 * season * who.changes[owner]
    device = np.where(rng.random(n) < 0.02, len(who) * 6 + _zipf(rng, who.kiosks, n, 0.5), device)
    shared = len(who) // 2 + _zipf(rng, who.shared, n, 0.9)
    product = rng.choice(_PRODUCTS, n, p=[0.74, 0.12, 0.06, 0.055, 0.025])
    email = who.traits["email"][owner]
    columns = {
        "t": t,
        "card": owner * 2 + (rng.random(n) < 0.15),
        **_card_traits(who, owner),
        "product": product,
        "region": who.traits["region"][owner],
        "land": who.traits["land"][owner],
        "payer": email,
        "payee": np.where(rng.random(n) < 0.8, email, _zipf(rng, _DOMAINS, n)),
        "model": who.traits["model"][owner],
        "device": device,
        "address": np.where(rng.random(n) < 0.25, shared, who.household[owner]),
        "amount": rng.lognormal(4.2 + 0.3 * (product == 1), 0.95),
        "opened": who.opened[owner],
        "ring": np.full(n, -1),
    }
    return columns, _numbers(who, owner, mix, rng)


def _rings(who: _Customers, n: int, mix: Floats, rng: np.random.Generator) -> Iterator[tuple[Parts, Floats]]:
    """Yield one ring after another until they have paid n times."""
    fresh = _Fresh(card=len(who) * 2, device=len(who) * 6 + who.kiosks, address=len(who) // 2 + who.shared)
    ring = 0
    while n > 0:
        size = min(n, int(np.clip(rng.lognormal(3.1, 0.6), 6, 120)))
        yield _ring(who, size, ring, fresh, mix, rng)
        n, ring = n - size, ring + 1


@dataclass(slots=True)
class _Fresh:
    """The next numbers that nobody has used."""

    card: int
    device: int
    address: int

    def take(self, name: str, count: int) -> Ints:
        first = getattr(self, name)
        setattr(self, name, first + count)
        return np.arange(first, first + count)


def _ring(
    who: _Customers, m: int, ring: int, fresh: _Fresh, mix: Floats, rng: np.random.Generator
) -> tuple[Parts, Floats]:
    begin, alive = rng.random() * (SPAN_S - 2 * DAY_S), rng.uniform(1.5, 16) * DAY_S
    t = np.minimum(begin + rng.random(m) * alive, SPAN_S - 1)
    devices = fresh.take("device", int(rng.integers(2, 7)))
    own = fresh.take("address", int(rng.integers(3, 9)))
    busy = len(who) // 2 + _zipf(rng, who.shared, len(own), 0.9)
    addresses = np.where(rng.random(len(own)) < 0.5, own, busy)
    count = max(3, m // 3)
    victims = _joined(who, np.full(count, begin), rng)
    stolen = rng.random(count) < 0.7
    cards = np.where(stolen, victims * 2, fresh.take("card", count))
    new_opened = int(begin // DAY_S) - _age_of_card(count, rng)
    used = rng.integers(0, count, m)
    owner = victims[used]
    kiosk = len(who) * 6 + _zipf(rng, who.kiosks, m, 0.5)
    drop = _zipf(rng, _REGIONS, 3, 0.3)
    product = rng.choice(_PRODUCTS, m, p=[0.5, 0.3, 0.08, 0.1, 0.02])
    columns = {
        "t": t,
        "card": cards[used],
        **_card_traits(who, owner),
        "product": product,
        "region": np.where(rng.random(m) < 0.6, who.traits["region"][owner], drop[rng.integers(0, 3, m)]),
        "land": who.traits["land"][owner],
        "payer": _zipf(rng, _DOMAINS, m, 1.0),
        "payee": _zipf(rng, _DOMAINS, m, 1.0),
        "model": _zipf(rng, _MODELS, m, 0.7),
        "device": np.where(rng.random(m) < 0.85, devices[rng.integers(0, len(devices), m)], kiosk),
        "address": addresses[rng.integers(0, len(addresses), m)],
        "amount": rng.lognormal(4.4 + 0.2 * (product == 1), 0.85),
        "opened": np.where(stolen, who.opened[victims], new_opened)[used],
        "ring": np.full(m, ring),
    }
    numbers = _numbers(who, owner, mix, rng)
    numbers[:, :4] += 0.25
    return columns, numbers


def _lone(who: _Customers, n: int, mix: Floats, rng: np.random.Generator) -> tuple[Parts, Floats]:
    """Return what thieves of one card pay, once each, at night, from a device that nobody has seen."""
    t = np.floor(rng.random(n) * 180) * DAY_S + np.clip(rng.normal(4, 5, n) % 24, 0, 23.99) * 3600
    owner = _joined(who, t, rng)
    columns = {
        "t": t,
        "card": owner * 2,
        **_card_traits(who, owner),
        "product": rng.choice(_PRODUCTS, n, p=[0.3, 0.5, 0.05, 0.1, 0.05]),
        "region": _zipf(rng, _REGIONS, n),
        "land": np.where(rng.random(n) < 0.6, 0, 1 + _zipf(rng, _COUNTRIES - 1, n)),
        "payer": _zipf(rng, _DOMAINS, n, 0.8),
        "payee": _zipf(rng, _DOMAINS, n, 0.8),
        "model": _zipf(rng, _MODELS, n, 0.6),
        "device": np.arange(n) + (1 << 40),  # behind every ring's
        "address": len(who) // 2 + _zipf(rng, who.shared, n, 0.9),
        "amount": rng.lognormal(5.2, 0.9, n),
        "opened": who.opened[owner],
        "ring": np.full(n, LONE),
    }
    numbers = _numbers(who, owner, mix, rng)
    numbers[:, :4] += 0.7
    return columns, numbers
