"""A secret that the processes of one launch share, to check each other's messages.

The launcher makes one for every run and puts it into the environment of the ranks, where only
their user can read it. A person who starts the ranks by hand may set it. No torch is needed here.
"""

import hashlib
import hmac
import json
import os
import secrets

from ttt.errors import LaunchError

VARIABLE = "TTT_KEY"
HOW_TO_SET = f"export {VARIABLE}=$(openssl rand -hex 32)"
NOT_SET = (
    f"{VARIABLE} is not set: any program that reaches the port of rank 0 while the ranks meet can"
    f" decide what they run; on a network that others use, set the same for every process:"
    f" {HOW_TO_SET}"
)
_SHORTEST = 16  # characters; what is shorter can be guessed


def variables() -> dict[str, str]:
    """A new secret, as a variable for the ranks of one run."""
    return {VARIABLE: secrets.token_hex(32)}


def given() -> str | None:
    """The secret in the environment; None where there is none.

    Raises:
        LaunchError: It is too short.
    """
    secret = os.environ.get(VARIABLE, "")
    if secret and len(secret) < _SHORTEST:
        raise LaunchError(
            f"{VARIABLE} has {len(secret)} characters; allowed: {_SHORTEST} or more; {HOW_TO_SET}"
        )
    return secret or None


def take() -> str | None:
    """The secret, which then leaves the environment: programs that this one starts need none.

    Raises:
        LaunchError: It is too short.
    """
    secret = given()
    drop()
    return secret


def drop() -> None:
    """Take the secret out of the environment, of this process and of what it starts."""
    os.environ.pop(VARIABLE, None)


def proof(secret: str | None, *words: str) -> str:
    """A proof of these words that only an owner of the secret can make; empty without a secret.

    Args:
        secret: Of this launch.
        words: The message, and all that distinguishes it from the same message elsewhere.
    """
    if secret is None:
        return ""
    # As the bytes that the environment has: they may be no UTF-8.
    return hmac.new(os.fsencode(secret), json.dumps(words).encode(), hashlib.sha256).hexdigest()


def proves(secret: str | None, given_proof: object, *words: str) -> bool:
    """Whether a proof belongs to these words. Without a secret, there must be no proof.

    Args:
        secret: Of this launch.
        given_proof: What came with the words, of any type.
        words: As for `proof`.
    """
    if not isinstance(given_proof, str):
        return False
    return hmac.compare_digest(
        proof(secret, *words).encode(), given_proof.encode("utf-8", "replace")
    )
