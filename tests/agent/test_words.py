"""Sentences that can be said in another language, over the wire and from a store as well."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import msgspec
import pytest

from tests.agent.snapshots import COMFYUI, RTX_4080_SUPER, machine
from tests.agent.stage import Stage, Work
from tierwatch_agent.snapshot import SnapshotError, Stall, decode, encode
from tierwatch_agent.wording import chief_evidence, duration, evidence_of, listed, pace
from tierwatch_agent.words import (
    DEEPEST,
    LONGEST,
    Packed,
    capital,
    commas,
    english,
    inside,
    known,
    lines,
    pack,
    paragraph,
    say,
    say_many,
    translated,
    unpack,
)


class Sentences(dict[str, str]):
    """A language's catalogue: English template to its own; it has no second form."""

    def gettext(self, message: str, /) -> str:
        return self.get(message, message)

    def ngettext(self, msgid1: str, msgid2: str, n: int, /) -> str:
        return self.get(msgid1, msgid1 if n == 1 else msgid2)


GERMAN = Sentences(
    {
        "{gpu} has {size} available": "{size} frei auf {gpu}",
        "held by {who}": "belegt von {who}",
        "{count} more": "{count} weitere",
        "{count} job": "{count} Auftrag",
        "{job} does not move": "{job} steht",
        "a reported job": "ein gemeldeter Auftrag",
        "the driver is not loaded": "der Treiber ist nicht geladen",
        "{count} s": "{count} Sek.",
        "{first} {rest}": "{first}{rest}",
    }
)


def test_words_are_plain_english_to_whoever_reads_them() -> None:
    words = say("{gpu} has {size} available", gpu="GPU 0", size="9.8 GiB")
    assert words == "GPU 0 has 9.8 GiB available"
    assert hash(words) == hash("GPU 0 has 9.8 GiB available")
    assert f"{words}." == "GPU 0 has 9.8 GiB available."


def test_a_translation_has_its_own_order_and_goes_into_what_stands_within() -> None:
    words = say("{gpu} has {size} available", gpu="GPU 0", size=say("{count} more", count=3))
    assert translated(words, GERMAN) == "3 weitere frei auf GPU 0"


def test_what_no_catalogue_has_stays_english() -> None:
    assert translated(say("quite {what}", what="unknown"), GERMAN) == "quite unknown"
    assert translated("no words at all", GERMAN) == "no words at all"


def test_a_count_takes_the_form_that_goes_with_it() -> None:
    assert say_many("{count} job", "{count} jobs", 1) == "1 job"
    assert say_many("{count} job", "{count} jobs", 2) == "2 jobs"
    assert translated(say_many("{count} job", "{count} jobs", 2), GERMAN) == "2 Auftrag"


def test_two_phrases_that_count_are_two_messages() -> None:
    catalogue = Sentences({"{count} are idle": "{count} ruhen"})
    catalogue.ngettext = lambda one, many, n: one if n == 1 else many  # type: ignore[method-assign]
    assert translated(say_many("{count} is idle", "{count} are idle", 2), catalogue) == "2 ruhen"


def test_signs_of_templates_in_a_value_do_nothing() -> None:
    words = say("held by {who}", who="{who} %s {0.__class__} 100%")
    assert words == "held by {who} %s {0.__class__} 100%"
    assert translated(words, GERMAN) == "belegt von {who} %s {0.__class__} 100%"
    assert say("{share} % of 100 %", share=3) == "3 % of 100 %"


def test_a_sentence_begins_with_a_capital_and_a_name_keeps_its_letters() -> None:
    assert capital(say("never heard")) == "Never heard"
    assert capital(say("{job} does not move", job=say("a reported job"))) == (
        "A reported job does not move"
    )
    assert capital(say("{who} holds it", who="game.exe")) == "game.exe holds it"
    assert capital("plain text") == "Plain text"


def test_within_another_sentence_it_begins_small_and_a_name_keeps_its_letters() -> None:
    job = say("{server}'s job", server="Forge")
    assert inside(capital(say("{job} does not move", job=job))) == "Forge's job does not move"
    assert inside(say("Serves {tier}", tier="mass")) == "serves mass"
    assert inside(say("GPU {gpu} is lost", gpu="0")) == "GPU 0 is lost"
    assert inside("Serves it") == "serves it"


def test_how_a_sentence_begins_goes_into_its_translation() -> None:
    words = capital(say("{job} does not move", job=say("a reported job")))
    assert translated(words, GERMAN) == "Ein gemeldeter Auftrag steht"


def test_parts_in_a_row_stay_words() -> None:
    parts = [say("{count} more", count=n) for n in (1, 2, 3)]
    assert commas(parts) == "1 more, 2 more, 3 more"
    assert translated(commas(parts), GERMAN) == "1 weitere, 2 weitere, 3 weitere"
    assert translated(listed(parts), GERMAN) == "1 weitere, 2 weitere and 3 weitere"
    assert paragraph(["A.", "B."]) == "A. B."
    assert translated(paragraph(["A.", "B."]), GERMAN) == "A.B."
    assert lines(["a", "", "b"]) == "a\n\nb"
    assert commas([]) == paragraph([]) == ""


def test_a_sentence_without_values_is_known_again_by_its_english() -> None:
    assert translated(known("the driver is not loaded"), GERMAN) == "der Treiber ist nicht geladen"
    said = say("{count} more", count=1)
    assert known(said) is said
    assert known("{count} more") == "{count} more"
    assert known("") == ""


@pytest.mark.parametrize(
    ("words", "german"),
    [(duration(42), "42 Sek."), (pace(0.94), "0.9 Sek."), (duration(185), "3 min 5 Sek.")],
)
def test_spans_are_words(words: str, german: str) -> None:
    assert translated(words, GERMAN) == german


def test_words_that_were_packed_and_sent_are_the_same() -> None:
    words = capital(
        say("{job} does not move", job=say_many("{count} job", "{count} jobs", 2, extra=None))
    )
    wire = msgspec.json.encode(pack(words))
    back = unpack(msgspec.json.decode(wire, type=Packed | str))
    assert back == words == "2 jobs does not move"
    assert translated(back, GERMAN) == translated(words, GERMAN) == "2 Auftrag steht"


def test_a_plain_text_that_was_packed_stays_one() -> None:
    assert unpack(msgspec.json.decode(msgspec.json.encode(pack("text")), type=Packed | str)) == (
        "text"
    )


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda w: pickle.loads(pickle.dumps(w))]
)
def test_a_copy_is_the_same(copied: Any) -> None:
    words = say("held by {who}", who=say("{count} more", count=2))
    assert copied(words) == words
    assert translated(copied(words), GERMAN) == "belegt von 2 weitere"


def test_a_document_has_the_english() -> None:
    words = {"said": say("{count} more", count=2)}
    assert msgspec.json.encode(words, enc_hook=english) == b'{"said":"2 more"}'
    with pytest.raises(NotImplementedError, match="complex"):
        msgspec.json.encode(1j, enc_hook=english)


def bomb(levels: int) -> Packed:
    packed = Packed(template="boom")
    for _ in range(levels):
        packed = Packed(template="{a}{a}", values={"a": packed})
    return packed


@pytest.mark.parametrize(
    ("packed", "why"),
    [
        (Packed(template="{missing} is not there"), "lacks its value missing"),
        (Packed(template="{a}", many="{b}", count=1, values={"a": 1}), "lacks its value b"),
        (Packed(template=""), "without a template"),
        (Packed(template="{a}", values={"a": Packed(template="")}), "without a template"),
        (Packed(template="x" * (LONGEST + 1)), f"more than {LONGEST}"),
        (Packed(template="{a}", values={"a": "x" * (LONGEST + 1)}), f"more than {LONGEST}"),
        (bomb(30), f"more than {LONGEST}"),
    ],
)
def test_what_no_agent_of_ours_says_is_refused(packed: Packed, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        unpack(packed)


def test_sentences_too_deep_within_one_another_are_refused() -> None:
    packed = Packed(template="deep")
    for _ in range(DEEPEST):
        packed = Packed(template="{a}", values={"a": packed})
    with pytest.raises(ValueError, match="too many within one another"):
        unpack(packed)


def test_a_document_that_is_nested_without_end_is_no_snapshot() -> None:
    with pytest.raises(SnapshotError, match="not a machine snapshot"):
        decode(b'{"schema":' + b"[" * 100_000)


def test_an_agent_sends_what_a_stall_is_judged_by_with_its_template() -> None:
    stage = Stage()
    job = stage.play(Work(seconds_per_step=2.0), until=12)
    stage.wait(60, job)
    ((_, stall),) = stage.stalls
    server = msgspec.structs.replace(COMFYUI, stall=stall)
    (sent,) = decode(encode(machine(RTX_4080_SUPER, servers=(server,)))).servers
    assert sent.stall == stall
    assert sent.stall is not None
    assert sent.stall.said is not None
    words = unpack(sent.stall.said)
    assert words == stall.evidence
    assert "Sek." in translated(words, GERMAN)
    chief, rest = chief_evidence(words)
    assert f"{chief}; {rest}" == stall.evidence
    assert translated(chief, GERMAN).startswith("no step for")


def test_the_chief_evidence_of_a_plain_text_is_its_first_clause() -> None:
    assert chief_evidence("no step for 9 s; 1 GiB free; busy") == (
        "no step for 9 s",
        "1 GiB free; busy",
    )
    assert chief_evidence("no step for 9 s") == ("no step for 9 s", "")
    assert chief_evidence(evidence_of([say("alone")])) == ("alone", "")


def test_an_older_agent_sends_the_english_alone() -> None:
    old = msgspec.json.encode({"cause": "hang", "since": 1.0, "evidence": "no step for 9 s"})
    stall = msgspec.json.decode(old, type=Stall)
    assert (stall.evidence, stall.said) == ("no step for 9 s", None)
