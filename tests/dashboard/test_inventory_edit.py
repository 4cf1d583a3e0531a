"""Edits of the file: the change and nothing else, whatever its author wrote around it."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest

from tierwatch_agent.tiers import DEFAULT_TIERS, Tier
from tierwatch_dashboard.inventory import Inventory
from tierwatch_dashboard.inventory_change import (
    AddTier,
    Assign,
    Change,
    EditError,
    Maintain,
    RemoveTier,
    SetTags,
    SetTier,
    applied,
    standing,
)
from tierwatch_dashboard.inventory_edit import edited, lines
from tierwatch_dashboard.inventory_toml import parse

EXAMPLE = (Path(__file__).parents[2] / "deploy" / "tierwatch.toml").read_bytes()
NEWLINE = b"\n"
VIDEO = Tier(name="video", vram_gb=24, purpose="film")


def _difference(before: bytes, after: bytes) -> list[str]:
    """The lines that went and came, in order."""
    found = difflib.ndiff(before.decode().splitlines(), after.decode().splitlines())
    return [line for line in found if line[:1] in "+-"]


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        (Assign(machine="render-01", tier="light"), ['- tier = "mass"', '+ tier = "light"']),
        (Assign(machine="render-01", tier=None), ['- tier = "mass"']),
        (
            Assign(machine="render-02", tier="mass", gpu_tiers={"1": "light"}, gpus="any"),
            [
                '- gpu_tiers = { "1" = "production", "2" = "draft" }',
                '+ gpu_tiers = {1 = "light"}',
                '+ gpus = "any"',
            ],
        ),
        (
            Assign(machine="render-03", tier="production", gpus="all"),
            ['- gpus = "any"', '+ gpus = "all"'],
        ),
        (Maintain(machine="render-01", on=True), ["+ maintenance = true"]),
        (
            Maintain(machine="artist-07", on=False),
            ["- maintenance = true", "+ maintenance = false"],
        ),
        (Maintain(machine="render-01", on=False), []),
        (
            SetTags(machine="render-01", tags=("a", "b")),
            ['- tags = ["floor-2"]', '+ tags = ["a", "b"]'],
        ),
        (SetTags(machine="render-01", tags=()), ['- tags = ["floor-2"]']),
        (
            SetTier(name="light", tier=Tier(name="light", vram_gb=8, purpose="")),
            [
                "- vram_gb = 6",
                "+ vram_gb = 8",
                '- purpose = "local generation at small sizes (512 px)"',
            ],
        ),
        (
            AddTier(tier=VIDEO),
            ["+ ", "+ [[tier]]", '+ name = "video"', "+ vram_gb = 24", '+ purpose = "film"'],
        ),
    ],
)  # fmt: skip
def test_no_line_changes_that_need_not(change: Change, changed: list[str]) -> None:
    assert _difference(EXAMPLE, edited(EXAMPLE, change)) == changed


@pytest.mark.parametrize(
    "change",
    [
        Assign(machine="render-03", tier="mass", gpu_tiers={"0": "light"}),
        SetTier(name="mass", tier=Tier(name="huge", vram_gb=24, purpose="x", allowance_gb=2)),
        AddTier(tier=Tier(name="video", vram_gb=24.5, purpose="", allowance_gb=0.25)),
        RemoveTier(name="draft"),
    ],
)
@pytest.mark.parametrize("text", ["example", "windows", "no tiers", "inline", "byte order mark"])
def test_the_file_then_says_what_the_change_says(change: Change, text: str) -> None:
    content = EXAMPLE.replace(b', "2" = "draft"', b"")
    if text == "windows":
        content = content.replace(b"\n", b"\r\n")
    elif text == "byte order mark":
        content = b"\xef\xbb\xbf" + content
    elif text == "no tiers":
        content = (
            b'[[machine]]\nid = "render-03"\nurl = "http://render-03:9838"\n'
            b'tier = "mass"  # the loud one'
        )
    elif text == "inline":
        content = (
            b'tier = [\n  { name = "draft", vram_gb = 0 }, # rough\n'
            b'  { name = "mass", vram_gb = 16 },\n  { name = "light", vram_gb = 6 },\n]\n'
            b'machine = [ { id = "render-03", url = "http://r:1", tier = "mass" } ]\n'
        )
    before = parse(content, "tierwatch.toml")
    after = edited(content, change)
    found, wanted = parse(after, "tierwatch.toml"), applied(before, change)
    assert (found.machines, found.tiers) == (wanted.machines, wanted.tiers)
    assert after.count(b"\r\n") == (after.count(b"\n") if text == "windows" else 0)
    assert after.startswith(b"\xef\xbb\xbf") == (text == "byte order mark")


def test_a_comment_stays_with_what_it_is_about() -> None:
    content = (
        b'[[tier]]\nname = "draft"\nvram_gb = 0\n\n# What the games room serves.\n[[tier]]\n'
        b'name = "light"\nvram_gb = 6\n# allowance_gb = 2\n\n# The machines.\n[[machine]]\n'
        b'id = "a"\nurl = "http://a:1"\ntier = "light" # since May\n\n# Loud.\n[[machine]]\n'
        b'id = "b"\nurl = "http://b:1"\n'
    )
    assigned = edited(content, Assign(machine="a", tier="draft"))
    assert b'tier = "draft" # since May\n\n# Loud.\n[[machine]]\n' in assigned
    kept = edited(content, Maintain(machine="a", on=True))
    assert b"# since May\nmaintenance = true\n\n# Loud.\n" in kept
    removed = edited(content, RemoveTier(name="draft"))
    assert removed.startswith(b"# What the games room serves.\n[[tier]]\n")
    removed = edited(content, RemoveTier(name="light"))
    assert removed.startswith(
        b'[[tier]]\nname = "draft"\nvram_gb = 0\n\n# What the games room serves.\n\n'
        b"# The machines.\n[[machine]]"
    )
    added = edited(content, AddTier(tier=VIDEO))
    assert b'# allowance_gb = 2\n\n[[tier]]\nname = "video"\n' in added
    assert b'purpose = "film"\n\n# The machines.\n[[machine]]' in added


def test_a_renamed_tier_takes_along_all_that_names_it() -> None:
    content = EXAMPLE + (
        b'\n[[alerts.receiver]]\nname = "studio"\nurl = "json://127.0.0.1/"\n'
        b'[[alerts.route]]\nreceivers = ["studio"]\ntiers = ["light", "mass"]\n'
    )
    renamed = SetTier(name="mass", tier=Tier(name="huge", vram_gb=16, purpose="x"))
    found = parse(edited(content, renamed), "tierwatch.toml")
    assert [machine.tier for machine in found.machines] == ["huge", "huge", "production", "light"]
    assert found.alerts.routes[0].tiers == ("light", "huge")
    assert list(found.alerts.rules["NoThroughput"].tiers) == ["huge"]
    own = SetTier(name="draft", tier=Tier(name="sketch", vram_gb=0, purpose=""))
    found = parse(edited(content, own), "tierwatch.toml")
    assert found.machines[1].gpu_tiers == {"1": "production", "2": "sketch"}


def test_the_default_ladder_is_written_out_before_it_is_changed() -> None:
    content = b'[[machine]]\nid = "a"\nurl = "http://a:1"\n'
    after = edited(content, AddTier(tier=VIDEO))
    assert after.startswith(content)
    assert parse(after, "").tiers == (*DEFAULT_TIERS, VIDEO)
    assert edited(content, Maintain(machine="a", on=True)) == content + b"maintenance = true\n"


def test_a_layout_that_cannot_be_kept_is_refused_in_words() -> None:
    apart = (
        b'[[machine]]\nid = "a"\nurl = "http://a:1"\n[[tier]]\nname = "x"\nvram_gb = 1\n'
        b'[[machine]]\nid = "b"\nurl = "http://b:1"\n'
    )
    with pytest.raises(EditError, match=r"keep all \[\[machine\]\] together"):
        edited(apart, Maintain(machine="a", on=True))


def test_the_lines_to_change_by_hand_show_no_secret() -> None:
    after = EXAMPLE.replace(b'tier = "mass"\ntags', b'tier = "light"\ntags')
    after += b'# url = "slack://token/x"\n'
    assert lines(EXAMPLE, after) == (
        '41: - tier = "mass"',
        '41: + tier = "light"',
        f'{EXAMPLE.count(NEWLINE) + 1}: + # url = "slack://…"',
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (Maintain(machine="gone", on=True), "The inventory has no machine gone any more."),
        (Assign(machine="render-01", tier="gone"), "There is no tier gone any more."),
        (
            SetTier(name="mass", tier=Tier(name="light", vram_gb=1, purpose="")),
            "There is a tier light already: give this one another name.",
        ),
        (
            AddTier(tier=Tier(name="mass", vram_gb=1, purpose="")),
            "There is a tier mass already: give this one another name.",
        ),
        (
            RemoveTier(name="mass"),
            "mass cannot be removed: render-01 and render-02 are assigned to it. Assign them to "
            "another tier first.",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_words(change: Change, sentence: str) -> None:
    with pytest.raises(EditError) as refused:
        applied(parse(EXAMPLE, "tierwatch.toml"), change)
    assert refused.value.words == sentence


def test_the_last_tier_stays() -> None:
    alone = Inventory(tiers=(VIDEO,))
    with pytest.raises(EditError, match="needs one tier at least"):
        applied(alone, RemoveTier(name="video"))


def test_what_a_form_is_based_on_is_told_apart_by_what_it_is_about() -> None:
    inventory = parse(EXAMPLE, "tierwatch.toml")
    assign, maintain = (
        Assign(machine="render-01", tier=None),
        Maintain(machine="render-01", on=True),
    )
    moved = applied(inventory, Assign(machine="render-01", tier="light"))
    assert standing(inventory, assign) != standing(moved, assign)
    assert standing(inventory, maintain) == standing(moved, maintain)
    assert standing(inventory, Maintain(machine="gone", on=True)) == ""
