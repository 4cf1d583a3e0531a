"""The cards that studios have, in what happens to them, against the four default tiers.

Totals are what drivers report (nvidia-smi, MiB), reserves what they keep of it: measured for the
RTX 2080 Super and the H100, of that order for the others, None for drivers before 510, which take
the reserve off the total. The floors: light 4769 MiB, production 10491, mass 14306.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.dashboard.watch import Watch, card, machine, process
from tierwatch_agent.snapshot import GpuSample
from tierwatch_dashboard.verdict import Verdict

NEEDS = {"light": "4.7 GiB", "production": "10.2 GiB", "mass": "14.0 GiB"}
CLASS = {"light": "6 GB", "production": "12 GB", "mass": "16 GB"}
NEXT = {"light": "production", "production": "mass"}
TIERS = {"D": "draft", "L": "light", "P": "production", "M": "mass"}


class Row(NamedTuple):
    """What is expected of one card; tiers by their first letter."""

    name: str
    total_mib: int
    reserved_mib: int | None
    could: str
    can: str
    """Empty, desktop, game, second server, mid-job."""
    size: str
    """Its total, as a sentence says it."""
    game: str | None = None
    """What a game leaves available, as the sentence says it; None: enough."""
    second: str | None = None
    """What a second generation server leaves available."""


CARDS = (
    Row("GTX 1060 6GB", 6144, 300, "L", "L L D D L", "6.0 GiB", "0.0 GiB", "3.2 GiB"),
    Row("RTX 2070 Max-Q, driver 4xx", 7982, None, "L", "L L D L L", "7.8 GiB", "1.8 GiB"),
    Row("RTX 4060", 8188, 400, "L", "L L D L L", "8.0 GiB", "1.6 GiB"),
    Row("RTX 2080 Super", 8192, 408, "L", "L L D L L", "8.0 GiB", "1.6 GiB"),
    Row("GTX 1080 Ti", 11264, 400, "L", "L L D L L", "11.0 GiB", "4.6 GiB"),
    Row("RTX 2080 Ti", 11264, 410, "L", "L L D L L", "11.0 GiB", "4.6 GiB"),
    Row("Titan, driver 4xx", 12212, None, "P", "P P L L P", "11.9 GiB", "5.9 GiB", "9.4 GiB"),
    Row("RTX 4070", 12282, 400, "P", "P P L L P", "12.0 GiB", "5.6 GiB", "9.1 GiB"),
    Row("RTX 3060 12GB", 12288, 400, "P", "P P L L P", "12.0 GiB", "5.6 GiB", "9.1 GiB"),
    Row("T4", 15360, 450, "M", "M M L P M", "15.0 GiB", "8.6 GiB", "12.1 GiB"),
    Row("V100, driver 410", 16130, None, "M", "M M L P M", "15.8 GiB", "9.8 GiB", "13.3 GiB"),
    Row("RTX 5080", 16303, 480, "M", "M M L P M", "15.9 GiB", "9.5 GiB", "13.0 GiB"),
    Row("Radeon 16 GB", 16368, None, "M", "M M L P M", "16.0 GiB", "10.0 GiB", "13.5 GiB"),
    Row("RTX 4080 Super", 16376, 400, "M", "M M L P M", "16.0 GiB", "9.6 GiB", "13.1 GiB"),
    Row("RTX 4060 Ti 16GB", 16380, 380, "M", "M M L P M", "16.0 GiB", "9.6 GiB", "13.1 GiB"),
    Row("A10", 23028, 560, "M", "M M M M M", "22.5 GiB"),
    Row("L4", 23034, 570, "M", "M M M M M", "22.5 GiB"),
    Row("RTX 4090", 24564, 420, "M", "M M M M M", "24.0 GiB"),
    Row("RTX 3090", 24576, 450, "M", "M M M M M", "24.0 GiB"),
    Row("RTX 5090", 32607, 540, "M", "M M M M M", "31.8 GiB"),
    Row("A100 40GB", 40960, 500, "M", "M M M M M", "40.0 GiB"),
    Row("L40S", 46068, 590, "M", "M M M M M", "45.0 GiB"),
    Row("H100", 81559, 479, "M", "M M M M M", "79.6 GiB"),
    Row("A100 80GB", 81920, 620, "M", "M M M M M", "80.0 GiB"),
    Row("H200", 143771, 600, "M", "M M M M M", "140.4 GiB"),
)

every_card = pytest.mark.parametrize("row", CARDS, ids=[row.name for row in CARDS])


def _card(row: Row, *processes: tuple[int, str, int, str | None]) -> GpuSample:
    held = [process(pid, name, mib, server) for pid, name, mib, server in processes]
    return card(row.total_mib, row.reserved_mib, held)


def _judged(row: Row, gpu: GpuSample, situation: int) -> Verdict:
    """Seen for longer than ``for``, assigned to the best that the card could do."""
    verdict = Watch(machine(TIERS[row.could])).see_for(65, gpu)
    assert verdict.could_serve == TIERS[row.could]
    assert verdict.can_serve == TIERS[row.can.split()[situation]]
    assert (verdict.state == "below") == (verdict.can_serve != verdict.could_serve)
    return verdict


@every_card
def test_an_empty_card_serves_its_class_and_never_the_next(row: Row) -> None:
    gpu = _card(row)
    verdict = _judged(row, gpu, 0)
    assert verdict.state == "ok"
    assert verdict.reasons == ()
    higher = NEXT.get(TIERS[row.could])
    if higher is not None:
        verdict = Watch(machine(higher)).see(gpu)
        assert verdict.state == "below"
        assert verdict.reasons == (
            f"GPU 0 can never serve {higher}: it has {row.size}, and {higher} is for "
            f"{CLASS[higher]} cards.",
            f"GPU 0 can serve {TIERS[row.could]}.",
        )


@every_card
def test_a_windows_desktop_disqualifies_no_card(row: Row) -> None:
    # With the reserve it takes 1 GiB, and WDDM tells of no process what it holds.
    gpu = card(
        row.total_mib,
        row.reserved_mib,
        [process(8, "dwm.exe"), process(9, "explorer.exe")],
        used_mib=1024 - (row.reserved_mib or 0),
        driver_model="wddm",
    )
    verdict = _judged(row, gpu, 1)
    assert not verdict.gpus[0].lower_bound
    tight = {
        "GTX 1060 6GB": "Serves light, only 0.3 GiB to spare",
        "T4": "Serves mass, only 0.0 GiB to spare",
    }
    if row.name in tight:
        assert verdict.headline == tight[row.name]
    else:
        assert verdict.state == "ok"


@every_card
def test_a_game_takes_6_gib_and_is_named(row: Row) -> None:
    held = min(6144, row.total_mib - (row.reserved_mib or 0))
    verdict = _judged(row, _card(row, (4711, "game.exe", held, None)), 2)
    if row.game is None:
        assert verdict.state == "ok"
        return
    tier, holds = TIERS[row.could], "5.7 GiB" if row.name == "GTX 1060 6GB" else "6.0 GiB"
    assert verdict.headline == f"Cannot serve {tier} now: game.exe holds {holds} of GPU 0"
    assert verdict.reasons == (
        f"GPU 0 has {row.game} available, {tier} needs {NEEDS[tier]}: "
        f"{holds} held by game.exe (pid 4711).",
        f"Ending game.exe (pid 4711) would let it serve {tier}.",
        f"GPU 0 can still serve {verdict.can_serve}.",
    )


@every_card
def test_a_second_server_that_keeps_a_model_loaded_takes_from_the_first(row: Row) -> None:
    gpu = _card(
        row, (3001, "python main.py", 3072, "comfyui"), (3002, "python launch.py", 2560, "a1111")
    )
    verdict = _judged(row, gpu, 3)
    if row.name in ("RTX 4060", "RTX 2080 Super"):
        assert verdict.headline == "Serves light, only 0.4 GiB to spare"
        return
    if row.second is None:
        assert verdict.state == "ok"
        return
    tier = TIERS[row.could]
    assert verdict.reasons == (
        f"GPU 0 has {row.second} available, {tier} needs {NEEDS[tier]}: "
        "2.5 GiB held by python launch.py (pid 3002).",
        f"Unloading the models of python launch.py (pid 3002) would let it serve {tier}.",
        f"GPU 0 can still serve {verdict.can_serve}.",
    )


@every_card
def test_a_card_whose_server_fills_it_in_mid_job_serves_its_class(row: Row) -> None:
    held = row.total_mib - (row.reserved_mib or 0) - 100
    verdict = _judged(row, _card(row, (3001, "python main.py", held, "comfyui")), 4)
    assert verdict.state == "ok"
    assert verdict.reasons == ()
