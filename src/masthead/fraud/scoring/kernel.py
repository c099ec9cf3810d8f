"""The compiled heart: what the past of its entities says of a transaction, and how the past grows.

`step` looks and changes nothing; `take` adds a transaction, `tell` a label. Training replays the same three in a
loop (`replay`) that serving calls one by one, so there is no second implementation to drift apart.

An entity keeps two lines of events: its transactions, and the labels of its transactions by the time at which they
arrived. A line is a ring of the last 64 in order of (time, sequence number), which begins with room for 4 since
the median entity has two or three, and 32 hourly and 32 daily buckets from when its ring covers less than 30 days.
A window is counted from the ring where that covers it, else from buckets, whose oldest is taken in proportion.
So all costs are bounded by the ring: a hub of 400,000 transactions costs as much as a busy card.
"""

# mypy: disable-error-code="no-any-return, arg-type, return-value"
# Annotations are for the reader; numba infers the machine types from the records.

from typing import Any, NamedTuple

import numpy as np

from masthead.learn.compiled import compiled, compiled_brief

__all__ = ["BUCKET", "ENTITY", "ENTRY", "Memory", "Plan", "Rows", "observe", "replay", "step", "take", "tell"]

Array = Any

K = 64
HOUR, DAY = 3_600_000_000, 86_400_000_000
SLOTS = 32  # buckets of each kind: 30 days and the day under way, 24 hours and the hour under way
EVENTS, LABELS = 0, 1
NEVER = -(2**62)
CELLS = 128  # of the hash table, twice as many as a ring has values

ENTITY = np.dtype(
    [
        ("count", "i8"),  # transactions
        ("first", "i8"),  # time of the first
        ("frauds", "i8"),  # of its transactions known as fraud
        ("last_fraud", "i8"),  # arrival of the last such label
        ("lost", "i8", (2,)),  # latest time that a line's ring no longer holds; 0: it holds all
        ("start", "i8", (2,)),  # place of the ring
        ("room", "i4", (2,)),  # 0, 4, 16 or 64
        ("head", "i4", (2,)),  # place of the oldest in the ring
        ("size", "i4", (2,)),
        ("slab", "i4", (2,)),  # of buckets; 0: none
    ],
    align=True,
)
"""One entity. Zeros are an entity that has never been seen, and record 0 stays one."""

ENTRY = np.dtype([("ts", "i8"), ("seq", "i8"), ("value", "f4"), ("log", "f4")], align=True)
"""One event of a line: amount and its logarithm, or 1 for fraud."""

BUCKET = np.dtype([("tag", "i8"), ("sum", "f8"), ("count", "i4"), ("known", "i4")], align=True)
"""One hour or day: which, events, those with a value, and the sum of the values."""


class Memory(NamedTuple):
    """All that is remembered. Arrays have room to spare; `heap` tells how much of each is used."""

    entities: Array  # (entities,) ENTITY
    pool: Array  # (slots,) ENTRY: all rings
    partners: Array  # (slots, counterparties) int32: entities
    buckets: Array  # (slabs, 64) BUCKET
    heap: Array  # (6,) int64: slots used, free ring of 4, of 16, -, slabs used, rows used
    seqs: Array  # (rows,) int64, rising
    members: Array  # (rows, relations) int32: entities; -1 no value
    verdicts: Array  # (rows,) int8: 1 fraud, 0 legitimate, -1 unknown
    arrived: Array  # (rows,) int64: when the verdict came first
    confirmed: Array  # (rows,) int64: when it came last


class Plan(NamedTuple):
    """What a model looks at. Relations are those that it tracks."""

    aggregated: Array  # (relations,) bool
    hubs: Array  # (relations,) bool
    partners: Array  # (counterparties,) int64: which relations are counterparties
    windows: (
        Array  # (7, 4) float64: counts, known, sums of events in 1 h, 1, 7, 30 d; then of labels; scratch
    )
    stamps: Array  # (CELLS + 1, 2) int64: scratch of a small hash table


class Rows(NamedTuple):
    """Transactions in arrays."""

    ts: Array  # (n,) int64
    amount: Array  # (n,) float64
    members: Array  # (n, relations) int32
    missing: Array  # (n,) int32: relations without a value
    numerics: Array  # (n, numerics) float32
    categories: Array  # (n, categoricals) float32


@compiled
def slot(start: int, head: int, i: int, room: int) -> int:
    """Return the place of the i-th of a ring, the oldest is 0. Rooms are powers of two: a division takes ten times as long."""
    return start + ((head + i) & (room - 1))


@compiled
def allot(m: Memory, room: int) -> int:
    """Return the place of an unused ring with `room` slots."""
    kind = 1 if room == 4 else 2
    if room < K and m.heap[kind] > 0:
        place = m.heap[kind]
        m.heap[kind] = m.pool[place].seq  # an unused ring names the next one
        return place
    place = m.heap[0]
    m.heap[0] = place + room
    return place


@compiled
def widen(m: Memory, e: int, line: int) -> None:
    """Give the ring of an entity four times its room."""
    one = m.entities[e]
    room, old = one.room[line], one.start[line]
    new = allot(m, max(4, 4 * room))
    for i in range(one.size[line]):
        source = slot(old, one.head[line], i, room)
        m.pool[new + i] = m.pool[source]
        m.partners[new + i] = m.partners[source]
    if room > 0:
        kind = 1 if room == 4 else 2
        m.pool[old].seq = m.heap[kind]
        m.heap[kind] = old
    one.start[line], one.head[line], one.room[line] = new, 0, max(4, 4 * room)


@compiled
def fill(slab: Array, ts: int, value: float, sign: int) -> None:
    """Add an event to its hour and its day, or take it away; what is older than all buckets is left out."""
    for kind in range(2):
        tag = ts // (DAY if kind else HOUR)
        bucket = slab[kind * SLOTS + tag % SLOTS]
        if bucket.tag < tag and sign > 0:
            bucket.tag, bucket.count, bucket.known, bucket.sum = tag, 0, 0, 0.0
        if bucket.tag == tag:
            bucket.count += sign
            if value == value:
                bucket.known += sign
                bucket.sum += sign * np.float64(value)


@compiled
def open_buckets(m: Memory, e: int, line: int) -> None:
    """Count by hours and days from here on, beginning with what the ring holds."""
    one = m.entities[e]
    slab = m.heap[4]
    m.heap[4] = slab + 1
    one.slab[line] = slab
    for i in range(2 * SLOTS):
        m.buckets[slab, i].tag = NEVER
    for i in range(one.size[line]):
        entry = m.pool[slot(one.start[line], one.head[line], i, one.room[line])]
        fill(m.buckets[slab], entry.ts, np.float64(entry.value), 1)


@compiled
def lose(m: Memory, e: int, line: int, ts: int, newest: int) -> None:
    """Note that the ring no longer holds an event of `ts`; open buckets if a window could still want it."""
    one = m.entities[e]
    one.lost[line] = max(one.lost[line], ts)
    if one.slab[line] == 0 and ts > newest - 30 * DAY:
        open_buckets(m, e, line)


@compiled
def insert(
    m: Memory, e: int, line: int, ts: int, seq: int, value: float, log: float, partners: Array
) -> None:
    """Put an event into a line at its (ts, seq) place; a full ring loses its oldest."""
    one = m.entities[e]
    value = np.float64(np.float32(value))  # as the ring will hold it
    if one.size[line] == one.room[line] and one.room[line] < K:
        widen(m, e, line)
    start, room, size = one.start[line], one.room[line], one.size[line]
    if size == K:
        oldest, newest = m.pool[start + one.head[line]], m.pool[slot(start, one.head[line], size - 1, room)]
        if ts < oldest.ts or (ts == oldest.ts and seq < oldest.seq):
            lose(m, e, line, ts, newest.ts)
            if one.slab[line] > 0:
                fill(m.buckets[one.slab[line]], ts, value, 1)
            return
        lose(m, e, line, oldest.ts, max(ts, newest.ts))
        one.head[line] = slot(0, one.head[line], 1, room)
        size -= 1
    at = size
    while at > 0:
        source = slot(start, one.head[line], at - 1, room)
        before = m.pool[source]
        if before.ts < ts or (before.ts == ts and before.seq < seq):
            break
        target = slot(start, one.head[line], at, room)
        m.pool[target] = before
        m.partners[target] = m.partners[source]
        at -= 1
    place = slot(start, one.head[line], at, room)
    entry = m.pool[place]
    entry.ts, entry.seq, entry.value, entry.log = ts, seq, value, log
    m.partners[place] = partners
    one.size[line] = size + 1
    if one.slab[line] > 0:
        fill(m.buckets[one.slab[line]], ts, value, 1)


@compiled
def remove(m: Memory, e: int, line: int, ts: int, seq: int, value: float) -> None:
    """Take an event out of a line."""
    one = m.entities[e]
    start, room, size = one.start[line], one.room[line], one.size[line]
    at = 0
    while at < size and m.pool[slot(start, one.head[line], at, room)].seq != seq:
        at += 1
    if at < size:
        for i in range(at, size - 1):
            target, source = slot(start, one.head[line], i, room), slot(start, one.head[line], i + 1, room)
            m.pool[target] = m.pool[source]
            m.partners[target] = m.partners[source]
        one.size[line] = size - 1
    if one.slab[line] > 0:
        fill(m.buckets[one.slab[line]], ts, value, -1)


@compiled
def from_buckets(slab: Array, now: int, width: int, unit: int, first: int, out: Array) -> None:
    """Fill `out` (count, known, sum) with a window that ends now; the oldest bucket counts in proportion."""
    since = now - width
    out[:] = 0.0
    for i in range(first, first + SLOTS):
        bucket = slab[i]
        begin = bucket.tag * unit
        if bucket.tag == NEVER or begin > now or begin + unit <= since:
            continue
        share = min(1.0, (begin + unit - since) / unit)
        out[0] += bucket.count * share
        out[1] += bucket.known * share
        out[2] += bucket.sum * share


@compiled
def measure(m: Memory, e: int, line: int, now: int, windows: Array) -> int:
    """Fill `windows` (3, 4) with counts, known values and sums in 1 h, 1, 7, 30 d before now; return how many of
    the ring are not after now."""
    one = m.entities[e]
    size, start, room, head = one.size[line], one.start[line], one.room[line], one.head[line]
    seen = size
    while seen > 0 and m.pool[slot(start, head, seen - 1, room)].ts > now:
        seen -= 1
    windows[:, :] = 0.0
    for i in range(seen - 1, -1, -1):  # from the newest back, each into the narrowest window that holds it
        entry = m.pool[slot(start, head, i, room)]
        age = now - entry.ts
        if age >= 30 * DAY:
            break
        w = 0 if age < HOUR else (1 if age < DAY else (2 if age < 7 * DAY else 3))
        windows[0, w] += 1
        if entry.value == entry.value:
            windows[1, w] += 1
            windows[2, w] += entry.value
    for w in range(1, 4):
        windows[:, w] += windows[:, w - 1]
    if one.slab[line] == 0 or one.lost[line] <= max(0, now - 30 * DAY):
        return seen
    for w in range(4):
        width = HOUR if w == 0 else (DAY if w == 1 else (7 * DAY if w == 2 else 30 * DAY))
        unit = HOUR if w < 2 else DAY
        if one.lost[line] <= max(0, now - width):
            continue
        from_buckets(m.buckets[one.slab[line]], now, width, unit, 0 if w < 2 else SLOTS, windows[:, w])
        for i in range(seen, size):  # of the bucket under way, what a late event must not see
            entry = m.pool[slot(start, head, i, room)]
            if entry.ts // unit == now // unit:
                windows[0, w] -= 1
                if entry.value == entry.value:
                    windows[1, w] -= 1
                    windows[2, w] -= entry.value
    return seen


@compiled
def distinct(m: Memory, e: int, seen: int, which: int, stamps: Array) -> int:
    """Return how many values of one counterparty the last transactions of an entity have."""
    one = m.entities[e]
    start, head, room = one.start[EVENTS], one.head[EVENTS], one.room[EVENTS]
    stamps[-1, 1] += 1  # the last cell counts the calls, so that nothing has to be wiped
    stamp, found = stamps[-1, 1], 0
    for i in range(seen):
        value = m.partners[slot(start, head, i, room), which]
        if value < 0:
            continue
        cell = (value * 40503) & (CELLS - 1)
        while stamps[cell, 1] == stamp and stamps[cell, 0] != value:
            cell = (cell + 1) & (CELLS - 1)
        if stamps[cell, 1] != stamp:
            stamps[cell, 0], stamps[cell, 1] = value, stamp
            found += 1
    return found


@compiled
def amounts(m: Memory, e: int, seen: int, log: float, out: Array) -> None:
    """Fill `out` (2,) with the distance of an amount from the last ones, and the same in their deviations."""
    one = m.entities[e]
    start, head, room = one.start[EVENTS], one.head[EVENTS], one.room[EVENTS]
    n, total, squares = 0, 0.0, 0.0
    for i in range(seen):
        value = np.float64(m.pool[slot(start, head, i, room)].log)
        if value == value:
            n += 1
            total += value
            squares += value * value
    out[:] = np.nan
    if n > 0:
        mean = total / n
        out[0] = log - mean
        if n > 1:  # 0.01: equal amounts must not make any other one infinitely far
            out[1] = (log - mean) / np.sqrt(max(0.0, squares / n - mean * mean) + 0.01)


@compiled
def frauds_among(m: Memory, e: int, arrived: int) -> tuple[int, int]:
    """Return what a late transaction may know: the frauds but those of the ring whose labels came later, and when the last
    of them arrived."""
    one = m.entities[e]
    size, start, room, head = one.size[LABELS], one.start[LABELS], one.room[LABELS], one.head[LABELS]
    frauds, last = one.frauds, one.last_fraud
    for i in range(arrived, size):
        frauds -= m.pool[slot(start, head, i, room)].value == 1
    for i in range(arrived):
        entry = m.pool[slot(start, head, i, room)]
        last = entry.ts if entry.value == 1 else last
    return frauds, last


@compiled
def look(plan: Plan, m: Memory, r: int, e: int, ts: int, log: float, out: Array, p: int) -> int:
    """Write the columns of one relation from `p` on and return the place after them; `Layout` names them."""
    one = m.entities[e]
    seen = measure(m, e, EVENTS, ts, plan.windows[0:3])
    arrived = measure(m, e, LABELS, ts, plan.windows[3:6])
    frauds, last_fraud = one.frauds, one.last_fraud
    if arrived < one.size[LABELS]:
        frauds, last_fraud = frauds_among(m, e, arrived)
    w = plan.windows
    out[p] = np.log1p(one.count)
    out[p + 1] = np.nan
    out[p + 2] = np.nan
    if seen > 0:
        last = m.pool[slot(one.start[0], one.head[0], seen - 1, one.room[0])].ts
        out[p + 1] = np.log1p((ts - last) / 1e6)
        out[p + 2] = np.log1p(max(0, ts - one.first) / 1e6)
    for i in range(1, 4):
        out[p + 1 + 2 * i] = w[0, i]
        out[p + 2 + 2 * i] = w[2, i] / w[1, i] if w[1, i] > 0 else np.nan
    out[p + 9] = w[0, 0]
    out[p + 10] = w[0, 1] / (w[0, 3] / 30) if w[0, 3] > 0 else np.nan
    amounts(m, e, seen, log, out[p + 11 : p + 13])
    p += 13
    for c in range(len(plan.partners)):
        if plan.partners[c] == r:
            continue
        different = distinct(m, e, seen, c, plan.stamps)
        out[p] = different
        p += 1
        if plan.hubs[r]:
            out[p] = different / seen if seen > 0 else np.nan
            p += 1
    out[p] = frauds
    out[p + 1] = frauds / (one.count + 20.0)
    out[p + 2] = np.log1p(max(0, ts - last_fraud) / 1e6) if frauds > 0 else np.nan
    for i in range(1, 4):
        out[p + 3 * i] = w[5, i]
        out[p + 3 * i + 1] = w[3, i]
        out[p + 3 * i + 2] = w[5, i] / w[3, i] if w[3, i] > 0 else np.nan
    return p + 12


@compiled
def logarithm(amount: float) -> float:
    """Return the logarithm of an amount; a refund's is that of a hundredth, as its flag says the rest."""
    return np.log10(amount if amount > 0.01 else 0.01) if amount == amount else np.nan


@compiled_brief
def step(plan: Plan, m: Memory, rows: Rows, i: int, out: Array) -> None:
    """Fill `out` (columns,) float32 with what is known of row `i` at its time; nothing is changed."""
    ts, amount = rows.ts[i], rows.amount[i]
    log = logarithm(amount)
    out[0] = log
    out[1] = np.nan if amount != amount else (1.0 if amount < 0 else 0.0)
    out[2] = (ts % DAY) / HOUR
    out[3] = (ts // DAY + 3) % 7  # 1970 began on a Thursday; Monday is 0
    out[4] = rows.missing[i]
    p = 6
    for j in range(rows.numerics.shape[1]):
        out[p + j] = rows.numerics[i, j]
    p += rows.numerics.shape[1]
    for j in range(rows.categories.shape[1]):
        out[p + j] = rows.categories[i, j]
    p += rows.categories.shape[1]
    new = 0
    for r in range(len(plan.aggregated)):
        if not plan.aggregated[r]:
            continue
        e = rows.members[i, r]
        if e < 0:
            width = 25 + (2 if plan.hubs[r] else 1) * np.sum(plan.partners != r)
            out[p : p + width] = np.nan
            p += width
            continue
        new += m.entities[e].count == 0
        p = look(plan, m, r, e, ts, log, out, p)
    out[5] = new


@compiled
def take(plan: Plan, m: Memory, rows: Rows, i: int, seq: int) -> None:
    """Add row `i` to the past of its entities."""
    row, ts, amount = m.heap[5], rows.ts[i], rows.amount[i]
    m.heap[5] = row + 1
    m.seqs[row], m.verdicts[row] = seq, -1
    m.members[row] = rows.members[i]
    log = logarithm(amount)
    partners = np.empty(len(plan.partners), np.int32)
    for c in range(len(plan.partners)):
        partners[c] = rows.members[i, plan.partners[c]]
    for r in range(len(plan.aggregated)):
        e = rows.members[i, r]
        if e <= 0 or not plan.aggregated[r]:
            continue
        one = m.entities[e]
        insert(m, e, EVENTS, ts, seq, amount, log, partners)
        one.first = ts if one.count == 0 else min(one.first, ts)
        one.count += 1


@compiled
def tell(plan: Plan, m: Memory, row: int, value: int, at: int) -> None:
    """Make a label known: the latest arrival wins, and saying the same again changes nothing."""
    old = m.verdicts[row]
    if old >= 0 and at < m.confirmed[row]:
        return
    m.confirmed[row] = at
    if old == value:
        return
    before, seq = m.arrived[row], m.seqs[row]
    m.verdicts[row], m.arrived[row] = value, at
    nobody = np.full(len(plan.partners), -1, np.int32)
    for r in range(len(plan.aggregated)):
        e = m.members[row, r]
        if e <= 0 or not plan.aggregated[r]:
            continue
        one = m.entities[e]
        if old >= 0:
            remove(m, e, LABELS, before, seq, np.float64(old))
        insert(m, e, LABELS, at, seq, np.float64(value), 0.0, nobody)
        if value == 1:
            one.frauds += 1
            one.last_fraud = max(one.last_fraud, at) if one.frauds > 1 else at
        elif old == 1:
            one.frauds -= 1


@compiled
def has_room(m: Memory) -> bool:
    """Return whether one more transaction or label fits, whatever it touches."""
    relations = m.members.shape[1]
    return (
        m.heap[0] + K * relations <= len(m.pool)
        and m.heap[4] + relations <= len(m.buckets)
        and m.heap[5] < len(m.seqs)
    )


@compiled_brief
def observe(plan: Plan, m: Memory, rows: Rows, i: int, seq: int, out: Array) -> None:
    """Do `step`, then `take`."""
    step(plan, m, rows, i, out)
    take(plan, m, rows, i, seq)


@compiled
def replay(
    plan: Plan, m: Memory, rows: Rows, seqs: Array, labels: Array, wanted: Array, out: Array, place: Array
) -> bool:
    """Take rows and labels in order until the end or until memory is short; return whether the end was reached.

    Args:
        labels: (labels, 4) int64: number of rows before it, row in memory, value, arrival; sorted by the first.
        wanted: (n,) int64: row of `out` that takes the features; -1: nobody wants them.
        place: (2,) int64: the next row and the next label; moved on.
    """
    while True:
        if not has_room(m):
            return False
        i, k = place[0], place[1]
        if k < len(labels) and labels[k, 0] <= i:
            tell(plan, m, labels[k, 1], labels[k, 2], labels[k, 3])
            place[1] = k + 1
        elif i < len(rows.ts):
            if wanted[i] >= 0:
                step(plan, m, rows, i, out[wanted[i]])
            take(plan, m, rows, i, seqs[i])
            place[0] = i + 1
        else:
            return True
