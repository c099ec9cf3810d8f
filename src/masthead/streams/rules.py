"""Topic rules: one SQL statement, parsed once to closures that take a payload and say what becomes of it.

    SELECT <items> FROM '<topic filter>' [WHERE <expression>]
    items       * | expression [AS name], by commas
    expression  paths a.b[0], "odd name", numbers, 'texts', true false null, ( ), - ,
                = <> < <= > >=  AND OR NOT  [NOT] IN  + - * / %  CASE WHEN THEN ELSE END, functions

Pure: text in, closures out. Every refusal names the place in the text, counted from 1.

Source: AWS IoT Core Developer Guide, "AWS IoT SQL reference" (version 2016-03-23), of which this is a subset.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from masthead.base.errors import InvalidInput, shown
from masthead.streams.closures import (
    CONTEXT,
    Expression,
    among,
    applied,
    choice,
    constant,
    drawn_uuid,
    either,
    every,
    folded,
    negated,
    pair,
    signed,
    topic_level,
    walk,
    within,
    within_or_equal,
)
from masthead.streams.topics import check_readings, compile_filter
from masthead.streams.values import (
    FUNCTIONS,
    UNDEFINED,
    Message,
    arithmetic,
    cast,
    comparison,
    equal,
    matches,
)

MAX_SQL = 10_000
MAX_DEPTH = 40  # of nested expressions: each level costs about ten frames of Python's stack
_KEYWORDS = frozenset({"select", "from", "where", "as", "and", "or", "not", "in", "case", "when", "then"})
_KEYWORDS |= {"else", "end", "true", "false", "null"}
_TYPES = ("string", "int", "decimal", "boolean")
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<quoted>"(?:[^"]|"")+")
      | (?P<text>'(?:[^']|'')*')
      | (?P<symbol><>|<=|>=|!=|[-+*/%=<>(),.\[\]])
    )""",
    re.VERBOSE,
)


class _Token(NamedTuple):
    kind: str  # number, name, quoted, text, symbol, keyword, end
    text: str  # keywords in lower case, texts and quoted names without their quotes
    place: int  # in the statement, counted from 1


class Rule:
    """A parsed statement: which topics it takes, and what it makes of a payload."""

    __slots__ = ("_items", "_where", "matches", "sql", "takes_all", "topic")

    def __init__(
        self, sql: str, topic: str, items: list[tuple[str, Expression] | None], where: Expression | None
    ) -> None:
        self.sql = sql
        self.topic = topic
        self.matches = compile_filter(topic)
        self.takes_all = items == [None]  # `SELECT *` alone: the payload's own bytes may pass
        self._items, self._where = items, where

    def select(self, payload: dict[str, Any], message: Message) -> dict[str, Any] | None:
        """Return the selected object, or None when WHERE is not true. Never raises; `payload` is not changed."""
        if self._where is not None and self._where(payload, message) is not True:
            return None
        if self.takes_all:
            return payload
        result: dict[str, Any] = {}
        for item in self._items:
            if item is None:
                result.update(payload)
            elif (value := item[1](payload, message)) is not UNDEFINED:
                result[item[0]] = value
        return result


def parse_rule(sql: object) -> Rule:
    """Return the rule of one statement.

    Raises:
        InvalidInput: It is not in the subset above; the message names the place.

    >>> parse_rule("SELECT CO, topic(2) AS station FROM 'air/+' WHERE CO > 4").select(
    ...     {"CO": 5}, Message("air/b-101"))
    {'CO': 5, 'station': 'b-101'}
    """
    if not isinstance(sql, str) or not sql.strip() or len(sql) > MAX_SQL:
        raise InvalidInput(
            f"sql: expected SELECT ... FROM '...' of at most {MAX_SQL} characters, got {shown(sql)}"
        )
    return _Parser(sql).statement()


def _tokens(sql: str) -> list[_Token]:
    tokens: list[_Token] = []
    place = 0
    end = len(sql.rstrip())
    while place < end:
        match = _TOKEN.match(sql, place)
        if match is None:
            start = place + len(sql[place:]) - len(sql[place:].lstrip())
            _refuse("a name, number, 'text' or operator", sql[start : start + 20], start + 1)
        kind = match.lastgroup or ""
        text = match[kind]
        start = match.start(kind) + 1
        if sql.startswith(("--", "/*"), start - 1):
            _refuse("no comments", text, start)
        if kind == "name" and text.lower() in _KEYWORDS:
            kind, text = "keyword", text.lower()
        elif kind in ("text", "quoted"):
            text = text[1:-1].replace(text[0] * 2, text[0])
        tokens.append(_Token(kind, text, start))
        place = match.end()
    tokens.append(_Token("end", "the end", len(sql) + 1))
    return tokens


def _refuse(expected: str, got: str, place: int) -> NoReturn:
    raise InvalidInput(f"sql: expected {expected} at place {place}, got {shown(got, limit=40)}", field="sql")


class _Parser:
    """Recursive descent. Chains of equal rank are loops, so only true nesting costs depth, and that is bounded."""

    def __init__(self, sql: str) -> None:
        self._sql = sql
        self._tokens = _tokens(sql)
        self._at = 0
        self._depth = 0
        self._uuids = 0

    def statement(self) -> Rule:
        self._keyword("select")
        items = [self._item()]
        while self._take("symbol", ","):
            items.append(self._item())
        self._keyword("from")
        topic = self._next
        if topic.kind != "text":
            _refuse("the topic filter in single quotes", topic.text, topic.place)
        self._at += 1
        try:
            check_readings(topic.text, "sql")
        except InvalidInput as error:
            raise InvalidInput(f"{error.message} (at place {topic.place})", field="sql") from error
        where = self._expression() if self._take("keyword", "where") else None
        if self._next.kind != "end":
            _refuse("the end", self._next.text, self._next.place)
        return Rule(self._sql, topic.text, items, where)

    def _item(self) -> tuple[str, Expression] | None:
        if self._take("symbol", "*"):
            return None
        start = self._next
        expression = self._expression()
        last = self._tokens[self._at - 1]
        if self._take("keyword", "as"):
            name = self._next
            if name.kind not in ("name", "quoted"):
                _refuse("a name after AS", name.text, name.place)
            self._at += 1
            return name.text, expression
        if start.kind in ("name", "quoted") and self._is_path(start):
            return last.text if last.kind in ("name", "quoted") else start.text, expression
        if start.kind == "name" and last.text == ")":
            return start.text.lower(), expression
        return _refuse("AS and a name for this value", start.text, start.place)

    def _is_path(self, start: _Token) -> bool:
        """Return whether the tokens since `start` are one path: names, dots and indices only."""
        used = self._tokens[self._tokens.index(start) : self._at]
        return all(token.kind in ("name", "quoted", "number") or token.text in ".[]" for token in used)

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, kind: str, *texts: str) -> _Token | None:
        token = self._next
        if token.kind == kind and token.text in texts:
            self._at += 1
            return token
        return None

    def _keyword(self, word: str) -> None:
        if not self._take("keyword", word):
            _refuse(word.upper(), self._next.text, self._next.place)

    def _symbol(self, symbol: str) -> None:
        if not self._take("symbol", symbol):
            _refuse(f"'{symbol}'", self._next.text, self._next.place)

    def _expression(self) -> Expression:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            _refuse(f"at most {MAX_DEPTH} nested expressions", self._next.text, self._next.place)
        parts = [self._conjunction()]
        while self._take("keyword", "or"):
            parts.append(self._conjunction())
        self._depth -= 1
        return parts[0] if len(parts) == 1 else either(parts)

    def _conjunction(self) -> Expression:
        parts = [self._negation()]
        while self._take("keyword", "and"):
            parts.append(self._negation())
        return parts[0] if len(parts) == 1 else every(parts)

    def _negation(self) -> Expression:
        flips = 0
        while self._take("keyword", "not"):
            flips += 1
        inner = self._relation()
        return inner if not flips else negated(inner, flips % 2 == 1)

    def _relation(self) -> Expression:
        left = self._sum()
        while True:
            if symbol := self._take("symbol", "=", "<>", "!=", "<", "<=", ">", ">="):
                left = pair(comparison(symbol.text), left, self._sum())
                if self._next.kind == "symbol" and self._next.text in ("=", "<>", "!=", "<", "<=", ">", ">="):
                    _refuse("AND or OR between comparisons", self._next.text, self._next.place)
            elif self._take("keyword", "in"):
                return self._membership(left)
            elif (
                self._next == ("keyword", "not", self._next.place) and self._tokens[self._at + 1].text == "in"
            ):
                self._at += 2
                return negated(self._membership(left), True)
            else:
                return left

    def _membership(self, left: Expression) -> Expression:
        opened = self._take("symbol", "(", "[")
        if not opened:
            return within(left, self._sum())
        options = [self._expression()]
        while self._take("symbol", ","):
            options.append(self._expression())
        self._symbol(")" if opened.text == "(" else "]")
        if opened.text == "(" and len(options) == 1:  # may be an array in brackets, or a list of one
            return within_or_equal(left, options[0])
        return among(left, options)

    def _sum(self) -> Expression:
        return self._chain(self._product, "+", "-")

    def _product(self) -> Expression:
        return self._chain(self._unary, "*", "/", "%")

    def _chain(self, operand: Callable[[], Expression], *symbols: str) -> Expression:
        first = operand()
        rest: list[tuple[Callable[[Any, Any], Any], Expression]] = []
        while symbol := self._take("symbol", *symbols):
            rest.append((arithmetic(symbol.text), operand()))
        return first if not rest else folded(first, rest)

    def _unary(self) -> Expression:
        flips = 0
        while self._take("symbol", "-"):
            flips += 1
        inner = self._operand()
        return inner if not flips else signed(inner, -1 if flips % 2 else 1)

    def _operand(self) -> Expression:
        token = self._next
        if token.kind == "number":
            self._at += 1
            return constant(_literal_number(token))
        if token.kind == "text":
            self._at += 1
            return constant(token.text)
        if self._take("symbol", "("):
            if self._next.text == "select":
                _refuse("no SELECT inside another", self._next.text, self._next.place)
            inner = self._expression()
            self._symbol(")")
            return inner
        if word := self._take("keyword", "true", "false", "null"):
            return constant({"true": True, "false": False, "null": None}[word.text])
        if self._take("keyword", "case"):
            return self._case()
        if token.kind in ("name", "quoted"):
            self._at += 1
            if token.kind == "name" and self._next.text == "(" and self._next.kind == "symbol":
                return self._call(token)
            return self._path(token)
        return _refuse("a value", token.text, token.place)

    def _path(self, first: _Token) -> Expression:
        steps: list[str | int] = [first.text]
        while True:
            if self._take("symbol", "."):
                name = self._next
                if name.kind not in ("name", "quoted", "keyword") or name.text == "from":
                    _refuse("a name after '.'", name.text, name.place)
                self._at += 1
                place = name.place - 1  # a keyword keeps the case it was written in
                steps.append(
                    self._sql[place : place + len(name.text)] if name.kind == "keyword" else name.text
                )
            elif self._take("symbol", "["):
                index = self._next
                if index.kind != "number" or not index.text.isdigit() or len(index.text) > 9:
                    _refuse("an index such as [0]", index.text, index.place)
                self._at += 1
                self._symbol("]")
                steps.append(int(index.text))
            else:
                return walk(steps)

    def _case(self) -> Expression:
        subject = None if self._next.text == "when" else self._expression()
        branches: list[tuple[Expression, Expression]] = []
        while self._take("keyword", "when"):
            test = self._expression()
            self._keyword("then")
            branches.append((test if subject is None else pair(equal, subject, test), self._expression()))
        if not branches:
            _refuse("WHEN", self._next.text, self._next.place)
        default = self._expression() if self._take("keyword", "else") else constant(UNDEFINED)
        self._keyword("end")
        return choice(branches, default)

    def _call(self, name: _Token) -> Expression:
        self._symbol("(")
        called = name.text.lower()
        if called == "cast":
            return self._cast()
        places: list[_Token] = []
        arguments: list[Expression] = []
        while not self._take("symbol", ")"):
            if arguments:
                self._symbol(",")
            places.append(self._next)
            arguments.append(self._expression())
        if called == "regexp_matches":
            return self._regexp(name, places, arguments)
        if called in ("topic", "timestamp", "clientid", "newuuid"):
            return self._context(name, places, arguments)
        if called not in FUNCTIONS:
            _refuse(f"a function ({', '.join(sorted(FUNCTIONS))}, ...)", name.text, name.place)
        fewest, most, function = FUNCTIONS[called]
        if not fewest <= len(arguments) <= most:
            _refuse(f"{fewest} to {most} arguments of {called}", str(len(arguments)), name.place)
        return applied(function, arguments)

    def _cast(self) -> Expression:
        value = self._expression()
        self._keyword("as")
        kind = self._next
        if kind.kind != "name" or kind.text.lower() not in _TYPES:
            _refuse("String, Int, Decimal or Boolean", kind.text, kind.place)
        self._at += 1
        self._symbol(")")
        name = kind.text.lower()
        return lambda payload, message: cast(value(payload, message), name)

    def _regexp(self, name: _Token, places: list[_Token], arguments: list[Expression]) -> Expression:
        if len(arguments) != 2 or places[1].kind != "text":
            _refuse("regexp_matches(value, 'pattern')", name.text, name.place)
        try:
            pattern = re.compile(places[1].text)
        except (re.error, OverflowError, RecursionError) as error:
            raise InvalidInput(
                f"sql: expected a regular expression at place {places[1].place}: {error}", field="sql"
            ) from error
        value = arguments[0]
        return lambda payload, message: matches(pattern, value(payload, message))

    def _context(self, name: _Token, places: list[_Token], arguments: list[Expression]) -> Expression:
        called = name.text.lower()
        if called == "topic" and len(arguments) == 1:
            level = places[0]
            if level.kind != "number" or not level.text.isdigit() or not 1 <= int(level.text[:9]) <= 128:
                _refuse("a level from 1 in topic(n)", level.text, level.place)
            return topic_level(int(level.text))
        if arguments:
            _refuse(f"no arguments of {called}", str(len(arguments)), name.place)
        if called == "newuuid":
            self._uuids += 1
            return drawn_uuid(self._uuids)
        return CONTEXT[called]


def _literal_number(token: _Token) -> int | float:
    value = float(token.text) if any(char in token.text for char in ".eE") else int(token.text[:400])
    if len(token.text) > 18:
        value = float(token.text)
    if value in (float("inf"), float("-inf")):
        _refuse("a number that fits 64 bits", token.text, token.place)
    return value
