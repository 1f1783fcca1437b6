"""Finds secrets in texts and settings by the words in their names, and hides their values.

Pure. It knows names, not values: it does not find a secret with another name. What it hides, and
what it does not hide on purpose:

    WANDB_API_KEY=..., export HF_TOKEN=..., -x TTT_KEY=..., -genv HF_TOKEN ..., --password ...,
    'HF_TOKEN': '...', data.password: ..., AWS_...=, https://user:password@host, Bearer ...,
    wandb login ..., -----BEGIN PRIVATE KEY-----
    data.key_column=, max_tokens=, pad_token=, embedding.keys=: settings of benchmarks
    HF_TOKEN=$TOKEN, ${oc.env:HF_TOKEN}, $(cat FILE): where a secret is, not what it is
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from ttt import literals
from ttt.secret_names import is_certain, named

MARK = "[redacted]"

_HINT = r"key|token|secret|pass|pwd|credential|jwt|aws_|bearer|authoriz|login|://|-----b"

# What stands right before a value: NAME=, NAME: and the like, or words that only a secret follows.
_BEFORE = r"""
    \bwandb\s+login\s+ (?!-)
  | \b(?i:bearer)\s+ (?=[\w.~+/=-]{8})
  | \b(?i:authorization)["']?\s*[:=]\s*["']?(?i:basic|token|apikey)\s+
  | (?P<quote>["']?) (?<![\w.]) (?P<name>[A-Za-z_][\w.-]{0,200}) (?P=quote)
        (?: \s?=\s? | (?P<colon>:\s+) | :(?=["']) )
  | (?<=[{,]) (?P<inner>[A-Za-z_][\w-]{0,200}) :(?!/)
  | (?<![\w-]) --(?P<option>[\w-]{1,200}) [\s,"']+ (?!-)
  | (?<![\w-]) -g?env [\s,"']+ (?P<variable>\w{1,200}) [\s,"']+
"""
_QUOTED = {
    '"': r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)',
    "'": r"'(?:[^'\\]|\\.)*(?:'|\\?\Z)",
}
_REFERENCE = r"\$\w+|\$\{\w+\}|\$\{oc\.env:\w+\}|\$\((?:cat\s|<|openssl\srand\s)[^()]*\)"
# Commands of a shell, up to one within another: a secret may be any word of them.
_COMMAND = r"\$\((?:[^()]|\([^()]{0,200}\)){0,1000}\)|`[^`\n]{0,1000}`"
_FREE = r"\\.|[^\s\"'\\$`]+|[$`]|\\\Z"
_LOOK_BACK = 2000  # characters, for a quote that is open
_NUMBER = r"[+-]?[\d._]+"
_NOTHING = r"|true|false|null|none|~"
# What stands before the last @ of an address; a password may have one, too.
_ADDRESS = r"(?<=://)(?!git@|\[redacted\]@)[^\s/?#\"'<>]{1,1000}@"
# What a traceback shows of a program: below the place of a frame, indented by two more.
_FRAME = r"""
    ^ (?P<margin>(?:\[rank\d+\]:)?[ |+-]*) File\ "[^"\n]*",\ line\ \d+,\ in\ [^\n]*\n
    (?P<source> (?: (?P=margin)\ \ [^\n]* (?:\n|\Z) )+ )
"""
# In a text of a program: what is put there later. Doubled braces are braces.
_PLACES = {True: r"(?<!\{)\{[^{}\n]+\}(?!\})", False: r"(?<!\{)\{\w*\}(?!\})|%[sdr]"}
_PLACE = "$_{}_"  # what stands for one while the text is read
_PLACES_ONLY = r"(?:\$_\d+_|:)+@"
_BLOCK = r"-----BEGIN [A-Z ]{1,60}-----.*?(?:-----END [A-Z ]{1,60}-----|\Z)"


@cache
def _pattern(expression: str, flags: int = 0) -> re.Pattern[str]:
    """Compiled at first use: every command imports this, and most have nothing to hide."""
    return re.compile(expression, flags)


def _harmless(name: str, value: str) -> bool:
    """Whether a value needs no hiding: empty, only the place of a secret, or hidden already."""
    bare = value.strip("\"' ")
    if not bare or bare == MARK or _pattern(_REFERENCE).fullmatch(bare):
        return True
    plain = _NOTHING if not name or is_certain(name) else _NUMBER + _NOTHING
    return bool(_pattern(plain, re.IGNORECASE).fullmatch(bare))


def text(content: str) -> str:
    """A text with `[redacted]` in the place of each secret; the same object if it has none.

    Lines of a program in a traceback change only where a literal is a secret: `token = make()` is
    none.
    """
    if not _pattern(_HINT, re.IGNORECASE).search(content):
        return content
    plain, kept, at = _pattern(_BLOCK, re.DOTALL).sub(MARK, content), [], 0
    for frame in _pattern(_FRAME, re.VERBOSE | re.MULTILINE).finditer(plain):
        kept += [_hidden(plain[at : frame.start("source")]), _of_program(frame["source"])]
        at = frame.end()
    changed = "".join([*kept, _hidden(plain[at:])])
    return content if changed == content else changed


def _of_program(source: str) -> str:
    """Lines of a program, or parts of them, of which only literals can hold a secret."""
    kept, at = [], 0
    for literal in literals.found(source):
        body = source[literal.begin : literal.end]
        if literal.kind == "formatted" and body.count("{") != body.count("}"):
            return _hidden(source)  # it goes on after a quote within its braces
        kept += [source[at : literal.begin], _in_literal(body, literal)]
        at = literal.end
    return "".join([*kept, source[at:]])


def _in_literal(body: str, literal: literals.Literal) -> str:
    """The content of a literal; what stands in it for a value that comes later is no secret."""
    formatted, number = literal.kind == "formatted", iter(range(len(body)))
    places = _pattern(_PLACES[formatted])
    plain = places.sub(lambda _: _PLACE.format(next(number)), body)
    # f"{user}:{password}" spells nothing; "{word}" may be a password.
    nothing, of = (r"\$_\d+_", plain) if formatted else (r"\{\d*\}|%[sdr]", body)
    spelled = _pattern(nothing).sub("", of)
    if literal.secret and _pattern(r"\w").search(spelled) and not _harmless("", body):
        return MARK
    hidden = _hidden(plain)
    for at, place in enumerate(places.findall(body)):
        # Within the braces of an f-string there is a program again.
        again = f"{{{_of_program(place[1:-1])}}}" if formatted else place
        hidden = hidden.replace(_PLACE.format(at), again, 1)
    return hidden


def code(source: str) -> str:
    """Python source with secrets hidden: only in literals, so that it stays a program."""
    kept, at = [], 0
    for literal in literals.found(source):
        body = source[literal.begin : literal.end]
        if literal.secret and literal.certain and literal.kind != "number":
            kept += [source[at : literal.begin], body if _harmless("", body) else MARK]
            at = literal.end
    return _hidden("".join([*kept, source[at:]]), in_quotes=True)


def _hidden(content: str, *, in_quotes: bool = False) -> str:
    if not _pattern(_HINT, re.IGNORECASE).search(content):
        return content
    plain = _pattern(_BLOCK, re.DOTALL).sub(MARK, content)
    plain = _pattern(_ADDRESS).sub(_without_user, plain)
    before, kept, at = _pattern(_BEFORE, re.VERBOSE), [], 0
    while found := before.search(plain, at):
        begin = end = found.end()
        name = next((one for one in found.group("name", "inner", "option", "variable") if one), "")
        secret = named(name) if name else True
        if found["colon"] and not found["quote"] and not re.search(r"[._-]", name):
            secret = is_certain(name)  # "the key: three words" is a sentence
        if secret:
            end = _end(plain, begin)
            quote = plain[begin] if plain[begin : begin + 1] in _QUOTED else ""
            secret = not _harmless(name, plain[begin:end])
            if in_quotes:
                secret = secret and bool(quote) and (not name or is_certain(name))
        kept += [plain[at:begin], f"{quote}{MARK}{quote}" if secret else plain[begin:end]]
        at = end
    changed = "".join([*kept, plain[at:]])
    return content if changed == content else changed


def _without_user(found: re.Match[str]) -> str:
    """The user and password of an address; they stay if they are names of variables."""
    return found[0] if _pattern(_PLACES_ONLY).fullmatch(found[0]) else f"{MARK}@"


def _end(content: str, begin: int) -> int:
    """Where a value ends that begins here, as a shell reads it."""
    if content.startswith(MARK, begin):
        return begin + len(MARK)
    reference = _pattern(rf"(?:{_REFERENCE})(?=[\s\"',;\])}}]|\Z)").match(content, begin)
    if reference:
        return reference.end()
    outer, first = _enclosing(content, begin), content[begin : begin + 1]
    # In 'a text' a " may open another one, and the next ' is the end of all.
    parts = [one for quote, one in _QUOTED.items() if quote != outer or quote == first]
    value = _pattern("|".join([*parts, _COMMAND, _FREE])).match
    end = whole = begin
    while found := value(content, end):
        end = found.end()
        whole = end if found[0].startswith("$(") else whole  # its ) is no sign around the value
    return max(whole, begin + len(content[begin:end].rstrip("]}),;:") or content[begin:end]))


def _enclosing(content: str, at: int) -> str:
    """The quote that is open at a place of a line; "" if none is."""
    line = max(content.rfind("\n", 0, at) + 1, at - _LOOK_BACK)
    opened = ""
    for found in _pattern(r"\\.|[\"']").finditer(content, line, at):
        if found[0] == opened:
            opened = ""
        elif not opened and len(found[0]) == 1:
            opened = found[0]
    return opened


def settings(node: Any) -> Any:
    """Nested plain values with secrets hidden: dicts by their keys, texts, command lines."""
    return _of("", node, certain=False)


def _of(name: str, node: Any, *, certain: bool) -> Any:
    certain = certain or any(map(is_certain, name.split(".")))
    if isinstance(node, dict):
        return {key: _of(str(key), value, certain=certain) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_of(name if certain else "", one, certain=certain) for one in _words(node)]
    if isinstance(node, str):
        hide = (certain or named(name)) and not _harmless(name, node)
        return MARK if hide else text(node)
    number = isinstance(node, int | float) and not isinstance(node, bool)
    return MARK if certain and number else node


def _words(items: Sequence[Any]) -> Iterator[Any]:
    """The items of a list that may be a command line, with what is a secret in whole hidden."""
    before = ["", ""]
    for item in items:
        yield _word(item, *before) if isinstance(item, str) else item
        before = [before[1], item if isinstance(item, str) else ""]


def _word(word: str, option: str, last: str) -> str:
    """A word of a command line after two others."""
    follows = option in ("-env", "-genv") or (last.startswith("--") and word[:1] != "-")
    if follows and "=" not in last and named(last) and not _harmless(last, word):
        return MARK
    name, _, value = word.partition("=")
    whole = value and _pattern(r"[+~]{0,2}[\w.-]+").fullmatch(name) and named(name)
    return f"{name}={MARK}" if whole and not _harmless(name, value) else word


def without(node: Any) -> Any:
    """Nested plain values without the settings, and the items of lists, that hold a secret.

    It leaves out what was hidden before, too.
    """
    return _kept(node, settings(node))


def _kept(node: Any, hidden: Any) -> Any:
    if isinstance(node, dict):
        pairs = ((key, value, hidden[key]) for key, value in node.items())
        return {key: _kept(value, then) for key, value, then in pairs if not _gone(value, then)}
    if isinstance(node, list | tuple):
        pairs_of = zip(node, hidden, strict=True)
        return [_kept(value, then) for value, then in pairs_of if not _gone(value, then)]
    return node


def _gone(value: Any, hidden: Any) -> bool:
    """Whether a single value is a secret, or was one."""
    if isinstance(value, dict | list | tuple):
        return False
    return hidden is not value or (isinstance(value, str) and MARK in value)


def typed(words: Sequence[str]) -> str:
    """A command line to copy; settings that hold a secret are left out, and it says so.

    Args:
        words: The command.
    """
    kept = without(list(words))
    more = "" if len(kept) == len(words) else "   (type the setting of a secret again)"
    return shlex.join(kept) + more


def holds(node: Any) -> bool:
    """Whether nested plain values hold a secret, or held one before it was hidden."""
    return _any(node, settings(node))


def _any(node: Any, hidden: Any) -> bool:
    if isinstance(node, dict):
        return any(_any(value, hidden[key]) for key, value in node.items())
    if isinstance(node, list | tuple):
        return any(_any(*pair) for pair in zip(node, hidden, strict=True))
    return _gone(node, hidden)
