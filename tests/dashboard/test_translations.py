"""Every sentence has its translation: one that lacks it fails here, with what to do about it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from babel.messages import Catalog, Message
from babel.messages.pofile import read_po

from tierwatch_dashboard.catalogues import LANGUAGES, TRANSLATIONS, catalogue

ROOT = Path(__file__).parents[2]
OTHERS = [code for code in LANGUAGES if code != "en"]
_NAME = re.compile(r"\{\w+\}")


def file_of(code: str) -> Path:
    return TRANSLATIONS / code / "LC_MESSAGES" / "messages.po"


def read(path: Path) -> Catalog:
    with path.open("rb") as source:
        return read_po(source)


def ids_of(message: Message) -> tuple[str, ...]:
    return (message.id,) if isinstance(message.id, str) else tuple(message.id)


def strings_of(message: Message) -> tuple[str, ...]:
    said = message.string
    return (said,) if isinstance(said, str) else tuple(said or ())


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], Message]:
    """What the code and the templates say now, as ``make messages`` finds it."""
    pot = tmp_path_factory.mktemp("said") / "messages.pot"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    found = re.search(
        r"pybabel -q extract (.*?) -o \S+ (agent dashboard)", makefile.replace("\\\n", " ")
    )
    assert found, "the Makefile extracts no messages"
    pybabel = (sys.executable, "-m", "babel.messages.frontend")
    command = [*pybabel, "-q", "extract", *found[1].split()]
    subprocess.run([*command, "-o", str(pot), *found[2].split()], cwd=ROOT, check=True)
    return {ids_of(message): message for message in read(pot) if message.id}


@pytest.mark.parametrize("code", OTHERS)
def test_every_sentence_is_translated_and_none_is_left_over(
    code: str, extracted: dict[tuple[str, ...], Message]
) -> None:
    known = {ids_of(message): message for message in read(file_of(code)) if message.id}
    missing = sorted(
        ids for ids in extracted if ids not in known or not all(strings_of(known[ids]))
    )
    mend = f"run `make messages`, then edit {file_of(code).relative_to(ROOT)}"
    assert not missing, f"no {LANGUAGES[code]} for {missing}: {mend}"
    assert not known.keys() - extracted.keys(), f"said no more: {mend}"
    assert not [ids for ids, message in known.items() if message.fuzzy], mend


@pytest.mark.parametrize("code", OTHERS)
def test_a_translation_has_the_values_of_its_sentence_and_no_other(code: str) -> None:
    wrong: list[tuple[str, str]] = []
    for message in read(file_of(code)):
        ids = ids_of(message) if message.id else ("",)
        # A form for one need not count it.
        least, most = set(_NAME.findall(ids[-1])), set(_NAME.findall("".join(ids)))
        for said in strings_of(message) if message.id else ():
            names = set(_NAME.findall(said))
            if not least <= names <= most or said.count("{") != len(_NAME.findall(said)):
                wrong.append((ids[0], said))
    assert wrong == []


def test_a_japanese_clause_gets_its_full_stop_where_the_sentence_does() -> None:
    wrong = [
        (ids_of(message)[0], said)
        for message in read(file_of("ja"))
        if message.id
        for said in strings_of(message)
        if said.endswith("。") and not ids_of(message)[0].endswith((".", "?", ":"))
    ]
    assert wrong == []


def test_the_english_needs_no_catalogue() -> None:
    assert catalogue("en").gettext("Tiers") == "Tiers"
    assert catalogue("ja").gettext("Tiers") == "ティア"
