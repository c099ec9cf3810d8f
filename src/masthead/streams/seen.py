"""What was already taken: a bounded window of digests, so that a reading sent again is dropped once and for all.

MQTT devices send again what was not acknowledged. The newest digests live in a set, older ones in sorted arrays of
16 bytes each: 2,000,000 take 32 MB. Pure.
"""

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

DIGEST_BYTES = 16
MOST = 2_000_000
_RECENT = 50_000  # a set costs some 90 bytes a digest, so only the newest lie in one
_GENERATIONS = 8  # full sorted arrays: each costs every batch one binary search
_Pairs = NDArray[np.uint64]


def digest_of(thing: str, stamp: float | None, payload: bytes) -> bytes:
    """Return the 16 bytes that two sendings of one reading share."""
    head = f"{thing}\0{stamp!r}\0".encode(errors="replace")
    return blake2b(head + payload, digest_size=DIGEST_BYTES).digest()


class Seen:
    """The window of one stream."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._recent: dict[bytes, None] = {}
        self._older: list[_Pairs] = []  # newest first; each (n, 2), sorted by its first column

    def __len__(self) -> int:
        return len(self._recent) + sum(len(pairs) for pairs in self._older)

    def load(self, digests: bytes) -> None:
        """Add what an earlier run has taken: joined digests."""
        if digests:
            self._freeze(digests)

    def add(self, digests: list[bytes]) -> list[bool]:
        """Return for each digest whether it is new to the window and to the earlier ones of the list; add them all."""
        known = self._in_older(digests)
        fresh = []
        for digest, old in zip(digests, known, strict=True):
            fresh.append(not old and digest not in self._recent)
            self._recent[digest] = None
        if len(self._recent) >= min(_RECENT, self._most):
            self._freeze(b"".join(self._recent))
            self._recent.clear()
        return fresh

    def _freeze(self, digests: bytes) -> None:
        pairs = np.frombuffer(digests, "<u8").reshape(-1, 2).astype(np.uint64)
        self._older.insert(0, pairs[np.argsort(pairs[:, 0], kind="stable")])
        while (
            len(self._older) > 1 and len(self._older[0]) + len(self._older[1]) <= self._most // _GENERATIONS
        ):
            merged = np.concatenate([self._older.pop(0), self._older.pop(0)])
            self._older.insert(0, merged[np.argsort(merged[:, 0], kind="stable")])
        while len(self._older) > 1 and sum(map(len, self._older)) > self._most:
            self._older.pop()

    def _in_older(self, digests: list[bytes]) -> list[bool]:
        known = np.zeros(len(digests), bool)
        if self._older and digests:
            asked = np.frombuffer(b"".join(digests), "<u8").reshape(-1, 2)
            for pairs in self._older:
                places = np.minimum(np.searchsorted(pairs[:, 0], asked[:, 0]), len(pairs) - 1)
                known |= (pairs[places] == asked).all(axis=1)
        return [bool(each) for each in known]
