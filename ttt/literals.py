"""Finds the literals in Python source, and which of them are values of secrets. Pure.

In source, `token = make()` and `password = saved["password"]` hold no secret: only a literal can.
The source may be any piece of a program, as the one line of a traceback is. Where a piece does not
tell, a literal counts as a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from ttt.secret_names import is_certain, is_common, is_password, named

_LONG = 16  # characters: keys and tokens of services have more, or digits; names of columns do not
_DIGITS = 6  # of a number that may be a key
# The first argument of these names or asks for a value, and is none.
_ASKS = frozenset("get getenv pop getpass input open Path".split())
_OPENS = ("(", "[", "=", ":=", ":", "+")
_MOST = 20  # values within values
_VARIABLE = re.compile(r"[A-Z_]+").fullmatch
_KEY = re.compile(r"[\"']{1,3}\s*:").match  # what comes after a key of a mapping
_COMPARED = ("==", "!=", "in", "is")
_AGAIN = ("or", "and", "else", ",")  # what follows is a value of its own
_NO_VALUE = ("if", "elif", "while", "for", "in", "and", "or", "not", "lambda", "else", "case")


class Literal(NamedTuple):
    """A text, number or comment in source.

    Attributes:
        begin: Where its content begins, inside of the quotes.
        end: Where it ends.
        kind: "text", "formatted" (an f-string), "number" or "comment".
        secret: Whether it is the value of a secret.
        certain: Whether the name leaves no doubt.
    """

    begin: int
    end: int
    kind: str
    secret: bool
    certain: bool


class _Token(NamedTuple):
    kind: str  # text, comment, name, number, newline or sign
    text: str  # without quotes
    begin: int
    end: int
    formatted: bool = False
    is_key: bool = False  # as far as the next sign tells


_START = _Token("newline", "", 0, 0)


@dataclass(slots=True)
class _Scope:
    """The value of a secret: what follows its name, up to a comma, a bracket or the end of a line.

    Attributes:
        depth: Open brackets where it begins.
        certain: Whether the name leaves no doubt.
        common: Whether the name often stands for something else: then a word of letters, deep in an
            expression, is no secret.
        numbers: The fewest digits of a number that is a secret.
        whole: It goes on after commas.
        only_first: Nothing but the next word is the value.
        first: Nothing but brackets has come yet, or another value begins.
    """

    depth: int
    certain: bool
    common: bool
    numbers: float
    whole: bool = False
    only_first: bool = False
    first: bool = True


@dataclass(slots=True)
class _Reader:
    """Reads tokens from left to right, and knows whether a secret's name stands before them."""

    scopes: list[_Scope] = field(default_factory=list)
    brackets: list[tuple[str, str]] = field(default_factory=list)  # each with the word before it
    depth: int = 0  # may be below 0: a piece may begin inside of brackets
    left: str = ""  # a secret's name in this statement, before its =
    annotated: dict[int, str] = field(default_factory=dict)  # names before a :, by depth
    options: set[int] = field(default_factory=set)  # depths of calls that declare such an option
    words: int = 0  # in this statement
    last: _Token = _START
    before: _Token = _START

    def read(self, token: _Token, spaced: bool) -> Literal | None:
        """The literal in this token, if it is one.

        Args:
            token: The next one.
            spaced: Whether a blank stands before it: keyword arguments have none before their =.
        """
        found = self._literal(token)
        if token.kind == "newline" or token.text == ";":
            self._end_statement()
        elif token.kind == "sign" or token.text in _COMPARED:
            self._sign(token.text, spaced)
        if token.kind in ("text", "name") and named(_name(token)):
            self.left = self.left if is_certain(self.left) else _name(token)
        for scope in self.scopes:
            again = token.text in _AGAIN and (token.text != "," or self.depth == scope.depth)
            scope.first = again or (scope.first and _goes_on(token))
        self.words += 1
        self.before, self.last = self.last, token
        return found

    def _literal(self, token: _Token) -> Literal | None:
        if token.kind not in ("text", "number", "comment"):
            return None
        kind = "formatted" if token.formatted else token.kind
        secret = certain = False
        for scope in () if token.kind == "comment" else self.scopes:
            if self._is_value(token, scope):
                secret, certain = True, certain or scope.certain
        return Literal(token.begin, token.end, kind, secret, certain)

    def _is_value(self, token: _Token, scope: _Scope) -> bool:
        if token.kind == "number":
            return scope.first and sum(map(str.isdigit, token.text)) >= scope.numbers
        odd = any(map(str.isdigit, token.text))
        odd = " " not in token.text and (odd or len(token.text) >= _LONG)
        if scope.only_first:
            is_name = token.text.startswith("-") or named(token.text) or _VARIABLE(token.text)
            return scope.first and not is_name and (odd or not scope.common)
        if self._asks() or (token.is_key and self.brackets and self.brackets[-1][0] == "{"):
            return False
        if named(_name(token)) and not scope.first:  # getattr(settings, "password")
            return False
        return scope.first or odd or not scope.common

    def _asks(self) -> bool:
        """Whether a word here says where a value is: d["here"], d.get("here")."""
        if not self.brackets or self.last.text not in ("[", "("):
            return False
        bracket, word = self.brackets[-1]
        if bracket == "[":
            return bool(word)
        return bracket == "(" and word.rpartition(".")[2] in _ASKS

    def _sign(self, sign: str, spaced: bool) -> None:
        if sign in ("(", "[", "{"):
            value = self.last.kind in ("name", "text") or self.last.text in (")", "]")
            known = value and self.last.text not in (*_NO_VALUE, "=", "return")
            self.brackets.append((sign, (self.last.text or "?") if known else ""))
            self.depth += 1
        elif sign in (")", "]", "}"):
            del self.brackets[-1:]
            for depth in [one for one in self.annotated if one >= self.depth]:
                del self.annotated[depth]
            self.options.discard(self.depth)
            self.depth -= 1
            self.scopes = [one for one in self.scopes if one.depth <= self.depth]
        elif sign == ",":
            self.scopes = [one for one in self.scopes if one.depth != self.depth or one.whole]
            self.annotated.pop(self.depth, None)
            self._option()
        elif sign == ":":
            self._colon()
        elif sign in ("=", ":=", "+=", *_COMPARED):
            self._equal(sign, spaced)

    def _equal(self, sign: str, spaced: bool) -> None:
        if sign == "in" and self.before.text == "for":
            return
        name, statement = _name(self.last), self.depth <= 0 and spaced and sign in ("=", "+=")
        if statement:
            name = self.left if not named(name) or is_certain(self.left) else name
        elif sign == "=" and name == "default" and self.depth in self.options:
            name = "password"
        elif not named(name):
            name = self.annotated.get(self.depth, "")
        if named(name):
            compared = sign in _COMPARED and is_common(name)  # if key == "loss":
            self._begin(name, whole=statement, only_first=compared)

    def _colon(self) -> None:
        name, inside = _name(self.last), self.brackets[-1][0] if self.brackets else ""
        if not inside:
            self.scopes = [one for one in self.scopes if one.depth != self.depth or one.whole]
        if named(name) and (inside == "{" or self.last.kind == "text"):
            self._begin(name)
        elif named(name) and inside and self.before.text not in _NO_VALUE:
            self.annotated[self.depth] = name
        elif named(name) and self.words == 1:  # `token: str = "..."`, or part of a mapping
            self._begin(name)
        elif not inside:
            self.left = ""  # `if token:` is over

    def _option(self) -> None:
        """After a comma: ("HF_TOKEN", "value") and ["--password", "value"]."""
        name = _name(self.last)
        if self.last.kind == "text" and named(name):
            self._begin(name, only_first=True)
            if is_certain(name) and self.brackets and self.brackets[-1][0] == "(":
                self.options.add(self.depth)

    def _begin(self, name: str, *, whole: bool = False, only_first: bool = False) -> None:
        digits = 1 if is_password(name) else _DIGITS if is_certain(name) else float("inf")
        certain, common = is_certain(name), is_common(name)
        scope = _Scope(self.depth, certain, common, digits, whole, only_first)
        if len(self.scopes) < _MOST:
            self.scopes.append(scope)
        else:  # no program is written so: all that follows is hidden
            self.scopes[0] = _Scope(-1, True, False, 1, whole=True)

    def _end_statement(self) -> None:
        if self.depth <= 0:
            self.scopes, self.left, self.words = [], "", -1
            self.brackets, self.depth = [], 0
            self.annotated, self.options = {}, set()


def _goes_on(token: _Token) -> bool:
    """Whether the first word of a value may still come after this."""
    return token.kind in ("text", "newline") or token.text in (*_COMPARED, *_OPENS)


def _name(token: _Token) -> str:
    """What a token may be the name of: itself, or an option that it spells."""
    if token.kind == "name":
        return token.text
    word = token.text.lstrip("-") if token.kind == "text" else ""
    return word.replace("-", "_") if re.fullmatch(r"[A-Za-z_][\w.-]*", word) else ""


@cache
def _pattern() -> re.Pattern[str]:
    return re.compile(
        r"""
        (?P<prefix>[bBfFrRuUtT]{0,2})
            (?: (?P<long>\"{3}|'{3}) (?P<several> (?: \\. | (?!(?P=long)). )* ) (?:(?P=long)|\\?\Z)
              | (?P<quote>["']) (?P<one> (?: \\. | (?!(?P=quote))[^\\\n] )* )
                    (?: (?P=quote) | \\?(?=\n) | \\?\Z ) )
      | (?P<comment>\#[^\n]*)
      | (?P<name>[^\W\d]\w*(?:\.[^\W\d]\w*)*)
      | (?P<number>\d[\w.]*)
      | (?P<newline>\n)
      | (?P<sign>:=|[=!<>+-]=|[^\s])
        """,
        re.VERBOSE | re.DOTALL,
    )


def _tokens(source: str) -> Iterator[_Token]:
    for found in _pattern().finditer(source):
        kind = found.lastgroup or ""
        if kind in ("several", "one"):
            formatted = "f" in found["prefix"].lower()
            is_key = _KEY(source, found.end(kind)) is not None
            yield _Token("text", found[kind], *found.span(kind), formatted, is_key)
        else:
            yield _Token(kind, found[kind], *found.span(kind))


def found(source: str) -> Iterator[Literal]:
    """The texts, numbers and comments in Python source, in their order."""
    reader = _Reader()
    for token in _tokens(source):
        literal = reader.read(token, spaced=source[token.begin - 1 : token.begin] == " ")
        if literal:
            yield literal
