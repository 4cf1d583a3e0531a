"""Values out of a TOML table, of which a wrong one says where it is and how to mend it. Pure."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600}


class Table:
    """One table of a file. What is read is of the type asked for, else ``error`` is raised.

    Args:
        values: The table as TOML gives it.
        place: Where it stands, for people: ``tierwatch.toml: machine 3 (render-03)``.
        error: What to raise, with the sentence.
    """

    def __init__(
        self, values: Mapping[str, object], place: str, error: type[ValueError] = ValueError
    ) -> None:
        self._values = values
        self.place = place
        self._error = error

    def wrong(self, what: str) -> ValueError:
        """An error that says where it is."""
        return self._error(f"{self.place}: {what}")

    @property
    def given(self) -> tuple[str, ...]:
        """The keys that are there, in the file's order."""
        return tuple(self._values)

    def only(self, known: Sequence[str]) -> None:
        """Refuses every key that is not known."""
        for key in self._values:
            if key not in known:
                raise self.wrong(f'"{key}" is not known here{did_you_mean(key, known)}')

    def text(self, key: str, example: str) -> str | None:
        """Text, or None where the key is not there; empty text is refused."""
        value = self._values.get(key)
        if value is None:
            return None
        if not isinstance(value, str) or not value.strip():
            raise self._type(key, "text in quotes", f'{key} = "{example}"', value)
        return value.strip()

    def required(self, key: str, example: str) -> str:
        """Text that must be there."""
        value = self.text(key, example)
        if value is None:
            raise self.wrong(f'{key} is missing; add a line such as {key} = "{example}"')
        return value

    def choice(self, key: str, choices: Sequence[str]) -> str | None:
        """One of the choices, or None where the key is not there."""
        value = self.text(key, choices[0])
        if value is not None and value not in choices:
            allowed = " or ".join(f'"{choice}"' for choice in choices)
            raise self.wrong(f'{key} is {allowed}, not "{value}"{did_you_mean(value, choices)}')
        return value

    def flag(self, key: str) -> bool:
        """A switch, off where the key is not there."""
        value = self._values.get(key, False)
        if not isinstance(value, bool):
            raise self._type(key, "true or false, without quotes", f"{key} = true", value)
        return value

    def number(self, key: str, example: str) -> float | None:
        """A finite number of 0 or more, or None where the key is not there."""
        value = self._values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._type(key, "a number, without quotes", f"{key} = {example}", value)
        if not math.isfinite(value) or value < 0:
            raise self.wrong(f"{key} is {value}; it must be 0 or more, such as {key} = {example}")
        return float(value)

    def seconds(self, key: str, example: str) -> float | None:
        """A length of time, "90s", "5m", "1h" or a number of seconds, in seconds."""
        value = self._values.get(key)
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            return self.number(key, f'"{example}"')
        if not isinstance(value, str):
            raise self._type(key, "a length of time", f'{key} = "{example}"', value)
        match = _DURATION.fullmatch(value.strip())
        if match is None:
            raise self.wrong(
                f'{key} is "{value}", which is no length of time; write it as "90s", "5m" or "1h"'
            )
        return float(match[1]) * _SECONDS[match[2]]

    def texts(self, key: str, example: str) -> tuple[str, ...]:
        """A list of texts, empty where the key is not there."""
        value = self._values.get(key, [])
        items = cast("list[object]", value) if isinstance(value, list) else [None]
        texts = tuple(item for item in items if isinstance(item, str) and item.strip())
        if len(texts) != len(items):
            raise self._type(key, "a list of texts", f'{key} = ["{example}"]', cast(object, value))
        return texts

    def mapping(self, key: str, example: str) -> dict[str, str]:
        """A table of texts, empty where the key is not there."""
        value = self._values.get(key, {})
        items = cast("dict[str, object]", value) if isinstance(value, dict) else {"": None}
        texts = {name: item for name, item in items.items() if isinstance(item, str)}
        if len(texts) != len(items):
            raise self._type(key, "a table of texts", f"{key} = {example}", cast(object, value))
        return texts

    def table(self, key: str) -> Table:
        """The table ``[key]``, empty where it is not there."""
        value = self._values.get(key, {})
        if not isinstance(value, dict):
            raise self.wrong(f"{key} is a table: write it as [{key}] on a line of its own")
        values = cast("dict[str, object]", value)
        return Table(values, f"{self.place}: {key}", self._error)

    def tables(self, key: str, named_by: str) -> list[Table]:
        """The tables ``[[key]]``, each placed by its number and its name."""
        value = self._values.get(key, [])
        if not isinstance(value, list) or not all(
            isinstance(item, dict) for item in cast("list[object]", value)
        ):
            raise self.wrong(f"{key} is a list of tables: write each as [[{key}]], in two brackets")
        tables: list[Table] = []
        for number, values in enumerate(cast("list[dict[str, object]]", value), start=1):
            name = values.get(named_by)
            known = f" ({name})" if isinstance(name, str) and name else ""
            tables.append(Table(values, f"{self.place}: {key} {number}{known}", self._error))
        return tables

    def _type(self, key: str, expected: str, example: str, value: object) -> ValueError:
        return self.wrong(f"{key} must be {expected}, such as {example}; it is {_shown(value)}")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The closest known word as the end of a sentence; empty where none is close."""
    close = closest(word, known)
    return f". Did you mean {close}?" if close else ""


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is the closest; None where none is close."""
    return next(iter(difflib.get_close_matches(word.lower(), list(known), n=1)), None)


def _shown(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    return "a list" if isinstance(value, list) else str(value)
