"""Sentences that keep their template, so that a page can say them in another language (pure).

``say("{gpu} has {size} available", gpu="GPU 0", size="9.8 GiB")`` is a plain English ``str`` to all
who read it, and knows how it was made: ``translated`` makes it anew from another catalogue's
template. A template names its values, and nothing else stands in braces: no formats, no attributes,
so that one that came from elsewhere can do nothing but stand in a sentence.

A template that is said elsewhere than where it stands is marked by ``phrase``, so that it gets into
the catalogues. A value that is no words is a name, and keeps its letters wherever it stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Literal, Protocol

import msgspec

Shape = Literal["", "capital", "inside"]
"""How a sentence begins: as it stands, with a capital, or as it stands within another sentence."""

LONGEST = 10_000
"""Characters of a sentence that came from elsewhere, at most."""
DEEPEST = 64
"""Sentences within one another, of one that came from elsewhere."""

_NAME = re.compile(r"\{(\w+)\}")
_LINES = "{first}\n{rest}"


class Catalogue(Protocol):
    """A language's sentences, as ``gettext.NullTranslations`` and its like have them."""

    def gettext(self, message: str, /) -> str:
        """The template in this language; the English one where there is none."""
        ...

    def ngettext(self, msgid1: str, msgid2: str, n: int, /) -> str:
        """The same, in the form that goes with a count."""
        ...


class Words(str):
    """A sentence in English. What is made of it by ``+`` or ``format`` is English alone."""

    __slots__ = ("many", "number", "shape", "template", "values")

    template: str
    values: Mapping[str, object]
    many: str | None
    """The template for several, where the sentence counts something."""
    number: int
    shape: Shape

    def __new__(
        cls,
        template: str,
        values: Mapping[str, object],
        many: str | None = None,
        count: int = 1,
        shape: Shape = "",
    ) -> Words:
        """KeyError where a template names a value that is not there."""
        english = template if many is None or count == 1 else many
        words = super().__new__(cls, _filled(english, values, shape))
        words.template, words.values, words.many = template, values, many
        words.number, words.shape = count, shape
        return words

    def __reduce__(self) -> tuple[type[Words], tuple[object, ...]]:
        """How a copy is made."""
        return Words, (self.template, dict(self.values), self.many, self.number, self.shape)


class Packed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Words as they go over the wire or into a store."""

    template: str
    values: dict[str, str | int | float | Packed | None] = {}
    many: str | None = None
    count: int = 1
    shape: Shape = ""


def phrase(template: str) -> str:
    """A template that stands here and is said elsewhere."""
    return template


def known(text: str) -> str:
    """A sentence without values that came from elsewhere: it is known again by its English."""
    if isinstance(text, Words) or not text or "{" in text:
        return text
    return Words(text, {})


def say(template: str, /, **values: object) -> Words:
    """A sentence of a template and its values, some of which may be words themselves."""
    return Words(template, values)


def say_many(one: str, many: str, count: int, /, **values: object) -> Words:
    """A sentence that counts something; its templates may name ``{count}``."""
    return Words(one, {"count": count, **values}, many, count)


def capital(words: str) -> str:
    """The same with a capital, as a sentence begins."""
    return _reshaped(words, "capital")


def inside(words: str) -> str:
    """The same as it stands within another sentence; names keep their capitals."""
    return _reshaped(words, "inside")


def commas(parts: Sequence[str]) -> str:
    """Parts in a row: "a, b, c"; empty where there is none."""
    return _linked(parts, lambda first, rest: say("{first}, {rest}", first=first, rest=rest))


def semicolons(parts: Sequence[str]) -> str:
    """Clauses of one sentence: "a; b; c"; empty where there is none."""
    return _linked(parts, lambda first, rest: say("{first}; {rest}", first=first, rest=rest))


def paragraph(sentences: Sequence[str]) -> str:
    """Whole sentences in a row; empty where there is none."""
    return _linked(sentences, lambda first, rest: say("{first} {rest}", first=first, rest=rest))


def lines(parts: Sequence[str]) -> str:
    """Each on a line of its own; empty where there is none."""
    return _linked(parts, lambda first, rest: Words(_LINES, {"first": first, "rest": rest}))


def translated(words: str, catalogue: Catalogue) -> str:
    """Words in a catalogue's language; a string that is nothing but a string stays as it is."""
    if not isinstance(words, Words):
        return words
    if words.many is None:
        template = catalogue.gettext(words.template)
    else:
        # Two phrases are two messages of a catalogue, and no one of two forms.
        counted = catalogue.ngettext(words.template, words.many, words.number)
        template = catalogue.gettext(counted)
    return _filled(template, words.values, words.shape, catalogue)


def pack(words: str) -> Packed | str:
    """Words with all that they are made of; a plain string stays one."""
    if not isinstance(words, Words):
        return words
    return Packed(
        template=words.template,
        values={name: _packed_value(value) for name, value in words.values.items()},
        many=words.many,
        count=words.number,
        shape=words.shape,
    )


def packed(words: str) -> Packed | None:
    """The same beside its English; None where there is nothing to say beside it."""
    return found if isinstance(found := pack(words), Packed) else None


def unpack(packed: Packed | str) -> str:
    """What ``pack`` made; ValueError where it cannot have been: none that it takes does harm."""
    return packed if isinstance(packed, str) else _unpacked(packed, 0)


def english(value: object) -> object:
    """For msgspec's ``enc_hook``: words are encoded as the English that they are."""
    if isinstance(value, Words):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} has no place in a document")


def _unpacked(packed: Packed, depth: int) -> Words:
    if depth == DEEPEST or not packed.template:
        raise ValueError("a sentence without a template, or too many within one another")
    values: dict[str, object] = {}
    templates = f"{packed.template}{packed.many or ''}"
    left = LONGEST - len(templates)
    # As long as it gets, before it is made: a value may stand in it many times.
    for name in _NAME.findall(templates) if left >= 0 else ():
        if name not in packed.values:
            raise ValueError(f'"{packed.template}" lacks its value {name}')
        if name not in values:
            value = packed.values[name]
            values[name] = _unpacked(value, depth + 1) if isinstance(value, Packed) else value
        left -= len(str(values[name]))
        if left < 0:
            break
    if left < 0:
        raise ValueError(f"a sentence of more than {LONGEST} characters")
    return Words(packed.template, values, packed.many, packed.count, packed.shape)


def _filled(
    template: str, values: Mapping[str, object], shape: Shape, catalogue: Catalogue | None = None
) -> str:
    form, names = _form(template)
    parts = [values[name] for name in names]
    if catalogue is not None:
        parts = [translated(part, catalogue) if isinstance(part, Words) else part for part in parts]
    if not shape:
        return form % tuple(parts)
    if not form.startswith("%s"):
        return _shaped(form % tuple(parts), shape)
    # A sentence that begins with a value begins as that does: a name keeps its letters.
    first = values[names[0]]
    if isinstance(first, Words):
        first = _reshaped(first, shape)
        parts[0] = first if catalogue is None else translated(first, catalogue)
    return form % tuple(parts)


@lru_cache(maxsize=4096)
def _form(template: str) -> tuple[str, tuple[str, ...]]:
    """A template as ``%`` fills it, and the names of its values in their order."""
    return _NAME.sub("%s", template.replace("%", "%%")), tuple(_NAME.findall(template))


def _linked(parts: Sequence[str], link: Callable[[str, str], Words]) -> str:
    if not parts:
        return ""
    *before, said = parts
    for part in reversed(before):
        said = link(part, said)
    return said


def _reshaped(words: str, shape: Shape) -> str:
    if isinstance(words, Words):
        return Words(words.template, words.values, words.many, words.number, shape)
    return _shaped(words, shape)


def _shaped(said: str, shape: Shape) -> str:
    if shape == "capital":
        return said[:1].upper() + said[1:]
    first = said.partition(" ")[0]
    is_name = any(sign.isupper() or sign.isdigit() for sign in first[1:])
    return said if is_name else said[:1].lower() + said[1:]


def _packed_value(value: object) -> str | int | float | Packed | None:
    if isinstance(value, Words):
        return pack(value)
    if value is None or isinstance(value, (str, int, float)):
        return value
    return str(value)
