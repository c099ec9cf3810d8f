"""Date patterns in Java's DateTimeFormatter letters, compiled once to a parser and a printer.

Letters: `y u` year, `Y` year (week-year beside `w`), `M` month (`MMM` Mar, `MMMM` March), `d` day of month,
`D` day of year (day of month beside a month, as AWS writes it), `w` ISO week, `E` weekday name, `a` AM/PM,
`h K H k` hours 1-12, 0-11, 0-23, 1-24, `m` minute, `s` second, `S` fraction, `X x Z` offset.
`'text'` is literal, `''` a quote, `[ ]` an optional part. Names are English. Pure: text and times only.

Source: java.time.format.DateTimeFormatter, "Patterns for Formatting and Parsing", Java SE 17 API.
"""

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import lru_cache

from masthead.base.errors import InvalidInput, shown

MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_LETTERS = frozenset("yuYMdDwEahKHkmsSXxZ")
_MAX_PATTERN = 256
_MAX_RUN = {"S": 9, "X": 5, "x": 5, "Z": 5, "E": 4, "M": 4, "y": 4, "u": 4, "Y": 4, "D": 3, "a": 1}
_NAMES = {name[:3].lower(): number for number, name in enumerate(MONTHS, start=1)}


class Pattern:
    """A compiled pattern: `parse` reads a text, `format` writes a time. Made by `compile_pattern`.

    Attributes:
        text: The pattern as written.
        letters: The letters it uses, after the readings above (`D` beside a month is `d`).
        warnings: What in it probably does not mean what its writer thought.
    """

    __slots__ = ("_groups", "_match", "_printers", "letters", "text", "warnings")

    def __init__(self, text: str, tokens: list["_Token"], warnings: tuple[str, ...]) -> None:
        self.text = text
        self.warnings = warnings
        self.letters = frozenset(letter for letter, _ in tokens if letter in _LETTERS)
        self._groups = [(index, *token) for index, token in enumerate(_letters_only(tokens), start=1)]
        self._match = re.compile(
            "".join(_expression(token) for token in tokens), re.IGNORECASE | re.ASCII
        ).fullmatch
        self._printers = [_printer(token) for token in tokens if token[0] not in "[]"]

    def parse(self, text: str) -> tuple[datetime, int | None]:
        """Return the local time that `text` names (naive) and its offset from UTC in seconds, None without one.

        Parts that the pattern lacks are those of 1970-01-01T00:00.

        Raises:
            InvalidInput: The text does not match, or names no real time (30 February, hour 25).
        """
        match = self._match(text)
        if match is None:
            raise InvalidInput(f"time: expected a text like {self.text!r}, got {shown(text)}")
        try:
            return _resolve(self._fields(match))
        except (ValueError, OverflowError) as error:
            raise InvalidInput(
                f"time: expected a real time in the form {self.text!r}, got {shown(text)}"
            ) from error

    def format(self, moment: datetime) -> str:
        """Return `moment` as text, in the moment's own zone; a naive one counts as UTC where an offset is asked.

        >>> compile_pattern("yyyy/MM/dd'T'HHmm").format(datetime(2022, 3, 24, 23, 30))
        '2022/03/24T2330'
        """
        return "".join([printer(moment) for printer in self._printers])

    def _fields(self, match: re.Match[str]) -> dict[str, int]:
        fields: dict[str, int] = {}
        for index, letter, count in self._groups:
            found = match[index]
            if found is None:
                continue
            value = _READERS[letter](found, count)
            if fields.setdefault(letter, value) != value:
                raise ValueError(f"two values for {letter}")
        return fields


_Token = tuple[str, int]  # (letter, run length), ("[" or "]", 0), or ("'" + literal text, 0)


@lru_cache(maxsize=512)
def compile_pattern(text: str) -> Pattern:
    """Return the compiled pattern; equal texts share one.

    Raises:
        InvalidInput: An unknown letter, a run too long, a quote or bracket left open; the place is named.

    >>> compile_pattern("yyyy-MM-dd HH:mm").parse("2022-03-24 23:30")
    (datetime.datetime(2022, 3, 24, 23, 30), None)
    """
    if not text or len(text) > _MAX_PATTERN:
        raise InvalidInput(f"format: expected a pattern of 1 to {_MAX_PATTERN} characters, got {shown(text)}")
    tokens, warnings = _reread(_tokens(text))
    return Pattern(text, tokens, tuple(warnings))


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    place = depth = 0
    while place < len(text):
        char = text[place]
        end = place + 1
        if char == "'":
            literal, end = _quoted(text, place)
            tokens.append(("'" + literal, 0))
        elif char.isascii() and char.isalpha():
            while end < len(text) and text[end] == char:
                end += 1
            tokens.append(_letter_token(text, char, place, end - place))
        elif char in "[]":
            depth += 1 if char == "[" else -1
            if depth < 0:
                raise InvalidInput(f"format: expected '[' before ']' at place {place + 1}, got {shown(text)}")
            tokens.append((char, 0))
        elif char in "{}#":  # reserved by Java
            raise InvalidInput(f"format: expected {char!r} at place {place + 1} in quotes, got {shown(text)}")
        else:
            tokens.append(("'" + char, 0))
        place = end
    if depth:
        raise InvalidInput(f"format: expected ']' for each '[', got {shown(text)}")
    return tokens


def _quoted(text: str, start: int) -> tuple[str, int]:
    """Return the literal that opens at `start`, and the place after it; `''` is one quote, inside and outside."""
    if text.startswith("''", start):
        return "'", start + 2
    literal, place = "", start + 1
    while place < len(text):
        if text[place] != "'":
            literal += text[place]
            place += 1
        elif text.startswith("''", place):
            literal += "'"
            place += 2
        else:
            return literal, place + 1
    raise InvalidInput(
        f"format: expected a closing quote for the one at place {start + 1}, got {shown(text)}"
    )


def _letter_token(text: str, letter: str, place: int, count: int) -> _Token:
    if letter not in _LETTERS:
        raise InvalidInput(
            f"format: expected letters of y u Y M d D w E a h K H k m s S X x Z, "
            f"got {letter!r} at place {place + 1} of {shown(text)}"
        )
    most = _MAX_RUN.get(letter, 2)
    if count > most or (letter == "Z" and count == 4):  # ZZZZ is a localised name
        raise InvalidInput(f"format: expected at most {most} of {letter!r} at place {place + 1}, got {count}")
    return letter, count


def _reread(tokens: list[_Token]) -> tuple[list[_Token], list[str]]:
    """Return the tokens as people mean them, and a warning for each that Java would read otherwise."""
    letters = {letter for letter, _ in tokens}
    replaced: dict[str, str] = {}
    warnings = []
    if "Y" in letters and "w" not in letters:
        replaced["Y"] = "y"
        warnings.append("Y is the week-year, wrong around New Year; it is read as the calendar year y")
    if "M" in letters and "D" in letters and ("D", 3) not in tokens:
        replaced["D"] = "d"
        warnings.append("D is the day of the year; beside a month it is read as the day of the month d")
    if letters & set("hK") and not letters & set("a"):
        replaced |= {"h": "H", "K": "H"}
        warnings.append("h needs a (AM or PM); without it the hour is read as 0 to 23")
    return [(replaced.get(letter, letter), count) for letter, count in tokens], warnings


def _letters_only(tokens: list[_Token]) -> list[_Token]:
    return [token for token in tokens if token[0] in _LETTERS]


def _expression(token: _Token) -> str:
    """Return the regular expression of one token; each letter token is one group."""
    letter, count = token
    if letter[0] == "'":
        return re.escape(letter[1:])
    if letter in "[]":
        return "(?:" if letter == "[" else ")?"
    if letter == "M" and count >= 3:
        names = [name[:3] for name in MONTHS] if count == 3 else MONTHS
        return f"({'|'.join(names)})"
    if letter == "E":
        names = [name[:3] for name in WEEKDAYS] if count < 4 else WEEKDAYS
        return f"({'|'.join(names)})"
    if letter in "XxZ":
        return _offset_expression(letter, count)
    if letter == "a":
        return "([AP]M)"
    if letter in "yuY":
        return {1: "([0-9]{1,4})", 2: "([0-9]{2})", 3: "([0-9]{3,4})", 4: "([0-9]{4})"}[count]
    if letter == "S":
        return f"([0-9]{{{count}}})"
    if letter == "D":
        return {1: "([0-9]{1,3})", 2: "([0-9]{2,3})", 3: "([0-9]{3})"}[count]
    return "([0-9]{1,2})" if count == 1 else "([0-9]{2})"


def _offset_expression(letter: str, count: int) -> str:
    style = 5 if letter == "Z" and count == 5 else 2 if letter == "Z" else count
    zulu = "Z|" if letter == "X" or (count == 5 and letter == "Z") else ""
    minutes = (
        "(?:[0-9]{2})?",
        "[0-9]{2}",
        ":[0-9]{2}",
        "[0-9]{2}(?:[0-9]{2})?",
        ":[0-9]{2}(?::[0-9]{2})?",
    )[style - 1]
    return f"({zulu}[+-][0-9]{{2}}{minutes})"


def _offset_s(text: str, _count: int) -> int:
    """Return the seconds east of Greenwich of `Z`, `+01`, `+0130`, `+01:30` or `+01:30:15`; 18 h at most."""
    if text in "Zz":
        return 0
    digits = text[1:].replace(":", "")
    hours, minutes, seconds = int(digits[:2]), int(digits[2:4] or 0), int(digits[4:6] or 0)
    total = hours * 3600 + minutes * 60 + seconds
    if minutes > 59 or seconds > 59 or total > 18 * 3600:
        raise ValueError("offset beyond 18 hours")
    return -total if text[0] == "-" else total


def _year(text: str, count: int) -> int:
    return 2000 + int(text) if count == 2 else int(text)


def _month(text: str, count: int) -> int:
    return int(text) if count < 3 else _NAMES[text[:3].lower()]


def _number(text: str, _count: int) -> int:
    return int(text)


_READERS: dict[str, Callable[[str, int], int]] = dict.fromkeys("dDwhKHkms", _number)
_READERS |= dict.fromkeys("yuY", _year) | dict.fromkeys("XxZ", _offset_s)
_READERS |= {
    "M": _month,
    "E": lambda text, _: [name[:3].lower() for name in WEEKDAYS].index(text[:3].lower()),
    "a": lambda text, _: 12 if text in ("PM", "pm", "Pm", "pM") else 0,
    "S": lambda text, count: int(text) * 10 ** (9 - count) // 1000,
}


def _resolve(fields: dict[str, int]) -> tuple[datetime, int | None]:
    """Return the local time and offset that the fields name. Raises ValueError when they contradict or overflow."""
    day = _resolve_day(fields)
    if "E" in fields and fields["E"] != day.weekday():
        raise ValueError("weekday and date differ")
    local = datetime(
        day.year,
        day.month,
        day.day,
        _hour(fields),
        fields.get("m", 0),
        fields.get("s", 0),
        fields.get("S", 0),
    )
    for letter in "XxZ":
        if letter in fields:
            return local, fields[letter]
    return local, None


def _resolve_day(fields: dict[str, int]) -> date:
    years = [fields[letter] for letter in "yuY" if letter in fields] or [1970]
    if len(set(years)) > 1 and "w" not in fields:
        raise ValueError("two different years")
    if "D" in fields:
        day = date(years[0], 1, 1) + timedelta(days=fields["D"] - 1)
        if fields["D"] < 1 or day.year != years[0]:
            raise ValueError("no such day of the year")
        return day
    if "w" in fields and "d" not in fields:
        return date.fromisocalendar(fields.get("Y", years[0]), fields["w"], fields.get("E", 0) + 1)
    return date(years[0], fields.get("M", 1), fields.get("d", 1))


def _hour(fields: dict[str, int]) -> int:
    """Return the hour 0-23; `k` counts 1 to 24 and `h` 1 to 12, where 24 and 12 stand for 0."""
    if "H" in fields:
        return fields["H"]
    if "k" in fields:
        return _clock(fields["k"], 24)
    if "h" in fields:
        return _clock(fields["h"], 12) + fields["a"]
    if fields.get("K", 0) > 11:
        raise ValueError("K is 0 to 11")
    return fields.get("K", 0) + fields.get("a", 0)


def _clock(hour: int, most: int) -> int:
    if not 1 <= hour <= most:
        raise ValueError(f"hour outside 1 to {most}")
    return hour % most


def _printer(token: _Token) -> Callable[[datetime], str]:
    letter, count = token
    if letter[0] == "'":
        literal = letter[1:]
        return lambda moment: literal
    if letter in "XxZ":
        return lambda moment: _format_offset(moment, letter, count)
    if letter == "M" and count >= 3:
        return lambda moment: MONTHS[moment.month - 1][: 3 if count == 3 else None]
    if letter == "E":
        return lambda moment: WEEKDAYS[moment.weekday()][: 3 if count < 4 else None]
    if letter == "a":
        return lambda moment: "PM" if moment.hour >= 12 else "AM"
    if letter == "S":
        return lambda moment: f"{moment.microsecond * 1000:09d}"[:count]
    if letter in "yuY" and count == 2:
        return lambda moment: f"{_NUMBERS[letter](moment) % 100:02d}"
    return lambda moment: f"{_NUMBERS[letter](moment):0{count}d}"


_NUMBERS: dict[str, Callable[[datetime], int]] = {
    "y": lambda moment: moment.year,
    "u": lambda moment: moment.year,
    "Y": lambda moment: moment.isocalendar().year,
    "M": lambda moment: moment.month,
    "d": lambda moment: moment.day,
    "D": lambda moment: moment.timetuple().tm_yday,
    "w": lambda moment: moment.isocalendar().week,
    "h": lambda moment: (moment.hour + 11) % 12 + 1,
    "K": lambda moment: moment.hour % 12,
    "H": lambda moment: moment.hour,
    "k": lambda moment: (moment.hour + 23) % 24 + 1,
    "m": lambda moment: moment.minute,
    "s": lambda moment: moment.second,
}


def _format_offset(moment: datetime, letter: str, count: int) -> str:
    offset = moment.utcoffset()
    total = int(offset.total_seconds()) if offset is not None else 0
    if total == 0 and (letter == "X" or (letter == "Z" and count == 5)):
        return "Z"
    sign, total = ("-" if total < 0 else "+"), abs(total)
    hours, minutes, seconds = total // 3600, total // 60 % 60, total % 60
    style = count if letter != "Z" else 5 if count == 5 else 2
    colon = ":" if style in (3, 5) else ""
    text = f"{sign}{hours:02d}"
    if style > 1 or minutes:
        text += f"{colon}{minutes:02d}"
    if style > 3 and seconds:
        text += f"{colon}{seconds:02d}"
    return text
