"""Dates, numbers and amounts in English and German, written as CLDR and number words have it.

Made by Babel and num2words, nothing to download: "Monday, the fifth of March, twenty eighteen" and
"Montag, der fünfte März zweitausendachtzehn". Every sentence is drawn from seeded numbers, and no
sentence to translate is one to learn from. Other releases of the two packages may write otherwise;
the manifest says which made a set, and a hash of each file tells whether two sets are the same.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ttt.errors import MissingExtra
from ttt.prepare.folder import Progress, is_prepared, silent, whole_folder
from ttt.prepare.parallel import Pair
from ttt.prepare.text import Corpus, Recipe, build

NEEDS = None  # nothing to download
COUNTS = {"train": 12_000, "eval": 400}
RECIPE = Recipe("en", "de", vocabulary=700, max_length=64)
SEED = 0

_LOCALES = {"en": "en_US", "de": "de_DE"}
_CURRENCIES = "EUR USD GBP CHF JPY SEK DKK PLN CZK HUF".split()
_UNITS = (
    "length-kilometer length-meter mass-kilogram mass-tonne volume-liter duration-hour"
    " duration-minute duration-second duration-day duration-week digital-byte power-watt"
    " temperature-celsius"
).split()

Writer = Callable[[str], str]  # from a language to one thing as it is written in it


def prepare(out: Path, sources: Sequence[Path] = (), progress: Progress = silent) -> None:
    """Write a prepared set to `out`; nothing if it is there.

    Args:
        out: The folder that becomes `data.root`.
        sources: Unused: the text is made here, and kept in `out`/text.
        progress: Called with (kB read, kB in all), once the text is there.

    Raises:
        MissingExtra: Babel, num2words or sentencepiece is not installed.
        DataError: Something else lies at `out`.
    """
    for package, module in (("babel", "babel"), ("num2words", "num2words")):
        try:
            __import__(module)
        except ImportError as error:
            raise MissingExtra(package, "text", "writing dates and numbers") from error
    made_by = f"CLDR of Babel {version('babel')}, num2words {version('num2words')}"
    languages = (RECIPE.source_language, RECIPE.target_language)
    names = {part: [Path(f"{part}.{language}") for language in languages] for part in COUNTS}
    if is_prepared(out, _corpus(made_by, Path(), names).identity(RECIPE)):
        return
    with whole_folder(out) as folder:
        text = folder / "text"
        text.mkdir()
        first = 0
        written = sentence_pairs(sum(COUNTS.values()))
        for part, count in COUNTS.items():
            for side, name in enumerate(names[part]):
                chosen = [pair[side] + "\n" for pair in written[first : first + count]]
                (text / name).write_text("".join(chosen), encoding="utf-8")
            first += count
        build(folder, _corpus(made_by, text, names), RECIPE, progress)


def _corpus(made_by: str, folder: Path, names: dict[str, list[Path]]) -> Corpus:
    train, evaluation = (Pair(*(folder / name for name in names[part])) for part in COUNTS)
    return Corpus(made_by, [train], evaluation)


def sentence_pairs(count: int) -> list[tuple[str, str]]:
    """So many different English sentences, each with its German one, the same every time.

    NumPy promises that `RandomState` never changes its numbers.
    """
    random = np.random.RandomState(SEED)
    kinds = (_date_in_words, _date, _date_and_time, _number, _amount_in_words, _amount, _measure)
    found: dict[str, str] = {}
    while len(found) < count:
        write = kinds[random.randint(len(kinds))](random)
        english, german = (_plain(write(language)) for language in ("en", "de"))
        found.setdefault(english, german)
    return list(found.items())


def _plain(text: str) -> str:
    """Every space an ordinary one: CLDR has narrow ones and such that do not break."""
    return " ".join(text.split())


def _moment(random: np.random.RandomState) -> datetime.datetime:
    minutes = random.randint(100 * 365 * 24 * 60)
    return datetime.datetime(1950, 1, 1) + datetime.timedelta(minutes=int(minutes))


def _words(number: int, language: str, kind: str = "cardinal") -> str:
    from num2words import num2words  # noqa: PLC0415 - an extra

    return str(num2words(number, lang=language, to=kind))


def _date_in_words(random: np.random.RandomState) -> Writer:
    from babel.dates import format_date  # noqa: PLC0415 - an extra

    day = _moment(random).date()

    def write(language: str) -> str:
        weekday, month = (
            format_date(day, pattern, locale=_LOCALES[language]) for pattern in ("EEEE", "LLLL")
        )
        number, year = _words(day.day, language, "ordinal"), _words(day.year, language, "year")
        if language == "en":
            return f"{weekday}, the {number} of {month}, {year}"
        return f"{weekday}, der {number} {month} {year}"

    return write


def _date(random: np.random.RandomState) -> Writer:
    from babel.dates import format_date  # noqa: PLC0415 - an extra

    day, length = _moment(random).date(), ("medium", "long", "full")[random.randint(3)]
    return lambda language: format_date(day, length, locale=_LOCALES[language])


def _date_and_time(random: np.random.RandomState) -> Writer:
    from babel.dates import format_date, format_time  # noqa: PLC0415 - an extra

    moment = _moment(random)

    def write(language: str) -> str:
        day = format_date(moment, "long", locale=_LOCALES[language])
        return f"{day}, {format_time(moment, 'short', locale=_LOCALES[language])}"

    return write


def _number(random: np.random.RandomState) -> Writer:
    number = _size(random)
    return lambda language: _words(number, language)


def _amount_in_words(random: np.random.RandomState) -> Writer:
    from babel.numbers import get_currency_name  # noqa: PLC0415 - an extra

    number, code = _size(random), _CURRENCIES[random.randint(len(_CURRENCIES))]

    def write(language: str) -> str:
        name = get_currency_name(code, count=number, locale=_LOCALES[language])
        return f"{_words(number, language)} {name}"

    return write


def _amount(random: np.random.RandomState) -> Writer:
    from babel.numbers import format_currency  # noqa: PLC0415 - an extra

    value = Decimal(_size(random)) + Decimal(int(random.randint(100))) / 100
    code = _CURRENCIES[random.randint(len(_CURRENCIES))]
    return lambda language: format_currency(
        value, code, locale=_LOCALES[language], format_type="name"
    )


def _measure(random: np.random.RandomState) -> Writer:
    from babel.units import format_unit  # noqa: PLC0415 - an extra

    number, unit = _size(random), _UNITS[random.randint(len(_UNITS))]
    return lambda language: format_unit(number, unit, "long", locale=_LOCALES[language])


def _size(random: np.random.RandomState) -> int:
    """A whole number below a million, of one to six digits, each as likely."""
    return int(random.randint(10 ** random.randint(1, 7)))
