"""What is a secret, by the words in the name of a variable or a setting. Pure; knows no values."""

import re
from functools import cache

# A name that ends with one of these is always that of a secret.
CERTAIN = frozenset(
    "secret secrets password passwords passwd passphrase credential credentials jwt"
    " apikey accesskey secretkey privatekey authtoken accesstoken".split()
)
# A setting of a benchmark may be a key or a token, too: one to sort by, one of a vocabulary.
_SECRET_KEYS = frozenset(
    "access account admin api auth client deploy encryption hf license master private secret"
    " service shared signing ssh ssl tls ttt wandb".split()
)
_VOCABULARY = frozenset(
    "begin bos class cls decoder end eos first image last mask max min new next num pad prompt sep"
    " special start stop sub target text unk unknown word".split()
)


def named(name: str) -> bool:
    """Whether a variable or a setting of this name holds a secret.

    Args:
        name: As HF_TOKEN, or dotted as data.password; only the last part counts.
    """
    parts = _parts(name)
    if not parts:
        return False
    before, end = (parts[-2] if len(parts) > 1 else ""), parts[-1]
    if is_variable(name):
        more = bool(before) and (parts[0] == "aws" or end in ("pass", "pwd"))
        return more or not (CERTAIN | {"key", "token"}).isdisjoint(parts)
    if end == "token":
        return before not in _VOCABULARY
    if end == "key":
        return not before or before in _SECRET_KEYS
    return end in CERTAIN


def is_variable(name: str) -> bool:
    """Whether it is named as variables of the environment are, and no setting of a benchmark."""
    return name.rpartition(".")[2].isupper()


def is_certain(name: str) -> bool:
    """Whether every value of this name is a secret, not only a text."""
    return named(name) and (is_variable(name) or is_password(name))


def is_password(name: str) -> bool:
    """Whether even a number of this name is a secret."""
    parts = _parts(name)
    return bool(parts) and parts[-1] in CERTAIN


def is_common(name: str) -> bool:
    """Whether programs have many variables of this name that hold no secret."""
    return name.rpartition(".")[2] in ("key", "token")


@cache
def _pattern() -> re.Pattern[str]:
    """Compiled at first use: every command imports this, and most have nothing to hide."""
    return re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def _parts(name: str) -> list[str]:
    return [one.lower() for one in _pattern().findall(name.rpartition(".")[2])]
