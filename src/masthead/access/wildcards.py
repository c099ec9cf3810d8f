"""Patterns of policies: `*`, `?` and `${variable}`, matched against whole texts by two pointers. Pure.

A variable's value is literal text, whatever signs it holds. Where a pattern is about a resource name, `*` within a
segment and `?` stay inside it; a `*` that is a segment's last sign also passes colons, as at AWS. `loose` patterns
pass colons everywhere: they stand where matching more means allowing less.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html and
reference_policies_variables.html
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import groupby

from masthead.base.errors import InvalidInput, shown

Resolve = Callable[[str], str | None]
"""Returns the value of a variable, None when the request has none."""


class Wild(Enum):
    """What a sign that is no letter stands for."""

    ANY = "any run of characters"
    RUN = "any run without a colon"
    ONE = "any one character"
    SAME = "any one character but a colon"


@dataclass(frozen=True, slots=True)
class Variable:
    """The place of a variable, by its name in small letters."""

    name: str


_ANY, _RUN, _ONE, _SAME = Wild.ANY, Wild.RUN, Wild.ONE, Wild.SAME
_REFERENCE = re.compile(r"\$\{([^}]*)(\}?)")
_NAME = re.compile(r"[A-Za-z0-9]+:[A-Za-z0-9_.:/=+@\- ]{1,128}")
Sign = str | Wild | Variable


class Pattern:
    """A compiled pattern: texts and, between them, runs; one with `?` is matched sign by sign instead.

    `match` returns None when a variable of it has no value.
    """

    __slots__ = ("_by_sign", "_dynamic", "_names", "_pieces", "_runs", "_signs", "_texts", "text")

    def __init__(self, text: str, signs: Sequence[Sign]) -> None:
        self.text, self._signs = text, tuple(signs)
        self._dynamic = any(isinstance(sign, Variable) for sign in signs)
        self._by_sign = any(sign is _ONE or sign is _SAME for sign in signs)
        pieces: list[list[str | Variable]] = [[]]
        runs: list[Wild] = []
        for sign in signs:
            if isinstance(sign, Wild):
                runs.append(sign)
                pieces.append([])
            else:
                pieces[-1].append(sign)
        self._runs = tuple(runs)
        self._pieces = [_joined(piece) for piece in pieces]
        self._names = {sign.name for sign in signs if isinstance(sign, Variable)}
        self._texts = [piece for piece in self._pieces if isinstance(piece, str)] if not self._dynamic else []

    def match(self, text: str, resolve: Resolve) -> bool | None:
        """Return whether the pattern is the whole of `text`."""
        if self._by_sign:
            signs = self.signs(resolve)
            return None if signs is None else glob(signs, text)
        texts: list[str] | None = self._texts or self._filled(resolve)
        if texts is None:  # also where no value could match: in a Deny it counts as everything
            return None
        if not self._runs:
            return text == texts[0]
        # Most names differ at one of their ends.
        return text.startswith(texts[0]) and text.endswith(texts[-1]) and _spread(self._runs, texts, text)

    def signs(self, resolve: Resolve) -> tuple[Sign, ...] | None:
        """Return the signs with every variable replaced; None when one has no value."""
        return resolved(self._signs, resolve) if self._dynamic else self._signs

    def _filled(self, resolve: Resolve) -> list[str] | None:
        values: dict[str, str] = {}
        for name in self._names:
            value = resolve(name)
            if value is None:
                return None
            values[name] = value
        return [
            piece
            if isinstance(piece, str)
            else "".join([one if isinstance(one, str) else values[one.name] for one in piece])
            for piece in self._pieces
        ]


def _joined(piece: Sequence[str | Variable]) -> str | list[str | Variable]:
    """Return a piece as one text, or as texts and variables in turn."""
    found: list[str | Variable] = []
    for is_text, run in groupby(piece, lambda one: isinstance(one, str)):
        signs = list(run)
        found += ["".join(map(str, signs))] if is_text else signs
    return str(found[0]) if len(found) == 1 and isinstance(found[0], str) else found or ""


def _spread(runs: Sequence[Wild], pieces: Sequence[str], text: str) -> bool:
    """Return whether the pieces lie in `text` with such runs between them; the first begins it, the last ends it.

    The same walk as `glob`, a piece at a time: each piece is taken as early as it can be.
    """
    place, number, count = len(pieces[0]), 0, len(runs)
    back, back_place = -1, 0
    while True:
        piece = pieces[number + 1]
        is_last = number == count - 1
        start = len(text) - len(piece) if is_last else 0
        if runs[number] is _ANY:
            if is_last:
                return start >= place
            found = text.find(piece, place)
            if found < 0:
                return False
            back, back_place = number, found + 1
        else:
            colon = text.find(":", place)
            end = len(text) if colon < 0 else colon
            if is_last:
                found = start if start >= place else -1
            else:
                found = text.find(piece, place, end + len(piece))
            if not 0 <= found <= end:
                if back < 0:
                    return False
                number, place = back, back_place
                continue
            if is_last:
                return True
        place = found + len(piece)
        number += 1


def resolved(signs: Sequence[Sign], resolve: Resolve) -> tuple[Sign, ...] | None:
    """Return signs with the letters of each variable's value in its place; None when one has none."""
    found: list[Sign] = []
    for sign in signs:
        if isinstance(sign, Variable):
            value = resolve(sign.name)
            if value is None:
                return None
            found.extend(value)
        else:
            found.append(sign)
    return tuple(found)


def compile_pattern(
    text: str,
    path: str,
    *,
    variables: bool = False,
    wildcards: bool = True,
    loose: bool = True,
    change: Callable[[str], str] = str,
) -> Pattern:
    """Return the pattern that `text` writes.

    Args:
        text: As it stands in a document.
        path: Its place there, for the message.
        variables: `${...}` is a variable; otherwise it is text.
        wildcards: `*` and `?` are wildcards; otherwise they are text.
        loose: Wildcards pass colons.
        change: Applied to the literal letters, say to make them small.

    Raises:
        InvalidInput: A variable is not closed or has no name.
    """
    signs: list[Sign] = []
    place = 0
    for found in _REFERENCE.finditer(text) if variables else ():
        signs += _plain(text[place : found.start()], text, found.start(), wildcards, loose, change)
        name = found[1].strip()
        if name in ("*", "?", "$") and found[2]:
            signs.append(name)
        elif found[2] and _NAME.fullmatch(name):
            signs.append(Variable(name.lower()))
        else:
            raise InvalidInput(f"{path}: expected ${{NAME}} as a variable, got {shown(text)}", field=path)
        place = found.end()
    signs += _plain(text[place:], text, len(text), wildcards, loose, change)
    return Pattern(text, signs)


def _plain(
    part: str, whole: str, end: int, wildcards: bool, loose: bool, change: Callable[[str], str]
) -> list[Sign]:
    """Return the signs of a part without variables; `end` is its end in the whole text."""
    if not wildcards:
        return list(change(part))
    signs: list[Sign] = []
    start = end - len(part)
    for number, letter in enumerate(part):
        if letter == "*":
            following = whole[start + number + 1 : start + number + 2]
            signs.append(_ANY if loose or following in ("", ":") else _RUN)
        elif letter == "?":
            signs.append(_ONE if loose else _SAME)
        else:
            signs.extend(change(letter))
    return signs


def glob(signs: Sequence[Sign], text: str, start: int = 0) -> bool:
    """Return whether signs without variables match `text` from `start` to its end.

    A run takes as little as it can; when what follows fails, the last run takes one more. A run that has met a colon
    gives back to the last one that may pass it: what lies between is found again as early as it can be, so earlier
    runs never have to be looked at.
    """
    sign_place, place, count, end = 0, start, len(signs), len(text)
    any_sign, any_place, run_sign, run_place = -1, 0, -1, 0
    while True:
        if sign_place < count:
            sign = signs[sign_place]
            if sign is _ANY:
                sign_place += 1
                if sign_place == count:
                    return True
                any_sign, any_place, run_sign = sign_place, place, -1
                continue
            if sign is _RUN:
                sign_place += 1
                run_sign, run_place = sign_place, place
                continue
            if place < end:
                letter = text[place]
                if sign == letter or sign is _ONE or (sign is _SAME and letter != ":"):
                    sign_place += 1
                    place += 1
                    continue
        elif place == end:
            return True
        if run_sign >= 0 and run_place < end and text[run_place] != ":":
            run_place += 1
            sign_place, place = run_sign, run_place
        elif any_sign >= 0 and any_place < end:
            any_place += 1
            sign_place, place, run_sign = any_sign, any_place, -1
        else:
            return False
