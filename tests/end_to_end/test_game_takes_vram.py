"""A game takes 6 GiB of a 16 GB card assigned to mass: fake driver, real agent, real dashboard."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.running_dashboard import RunningDashboard, machine_table
from tests.fakes.nvml import Card, Driver, FakeNvml, Proc
from tests.processes import RunningAgent, eventually

MACHINE = "render-02"
FOR_SECONDS = 5
COMFYUI_MIB = 5200
GAME_MIB = 6144

pytestmark = pytest.mark.slow


class Studio:
    """One machine with one card, its agent, and the dashboard that asks it."""

    def __init__(self, folder: Path, fake: FakeNvml, dashboard: RunningDashboard) -> None:
        self._folder = folder
        self._fake = fake
        self.dashboard = dashboard
        self.comfyui = self._start_comfyui()
        self.game: subprocess.Popen[bytes] | None = None

    def verdict(self) -> dict[str, Any]:
        """The machine's verdict, as the dashboard tells it."""
        return self.dashboard.machine(MACHINE)["verdict"]

    def until(self, state: str) -> dict[str, Any]:
        """The first verdict of this state."""
        return eventually(self.verdict, lambda v: v["state"] == state, f"a machine that is {state}")

    def start_game(self) -> int:
        """Starts a process that is called game.exe; its pid."""
        program = self._folder / "game.exe"
        shutil.copy("/bin/sleep", program)
        self.game = subprocess.Popen([program, "600"])
        return self.game.pid

    def end_game(self) -> None:
        """Ends it."""
        if self.game is not None:
            self.game.kill()
            self.game.wait()
            self.game = None

    def show(self, *, wddm: bool, comfyui: bool = True) -> None:
        """Has the driver list who is on the card."""
        listed: list[Proc] = []
        used = 0
        if comfyui:
            listed.append(Proc(self.comfyui.pid, None if wddm else COMFYUI_MIB))
            used += COMFYUI_MIB
        if self.game is not None:
            listed.append(Proc(self.game.pid, None if wddm else GAME_MIB, kind="graphics"))
            used += GAME_MIB
        card = Card(
            name="NVIDIA GeForce RTX 4080 SUPER",
            total_mib=16376,
            reserved_mib=376,
            used_mib=used,
            procs=tuple(listed),
            driver_model="wddm" if wddm else None,
        )
        self._fake.write(Driver(cards=(card,)))

    def close(self) -> None:
        """Ends what it started."""
        self.end_game()
        self.comfyui.kill()
        self.comfyui.wait()

    def _start_comfyui(self) -> subprocess.Popen[bytes]:
        home = self._folder / "ComfyUI"
        home.mkdir()
        (home / "main.py").write_text("import time\ntime.sleep(600)\n")
        return subprocess.Popen([sys.executable, "main.py"], cwd=home)


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    fake = FakeNvml(tmp_path)
    # Generation servers of other tests on this machine are none of this one's.
    config = "discover = false\n"
    with RunningAgent(tmp_path, config=config, environment=fake.env, machine=MACHINE) as agent:
        (tmp_path / "tierwatch.toml").write_text(
            f'[dashboard]\npoll_interval = "1s"\n[policy]\nbelow_for = "{FOR_SECONDS}s"\n'
            'clear_for = "2s"\n' + machine_table(MACHINE, f"http://127.0.0.1:{agent.port}")
        )
        with RunningDashboard(tmp_path) as dashboard:
            studio = Studio(tmp_path, fake, dashboard)
            yield studio
            studio.close()
            dashboard.end()


def test_the_machine_turns_below_names_the_game_and_recovers(studio: Studio) -> None:
    studio.show(wddm=False)
    before = studio.until("ok")
    assert before["can_serve"] == "mass"

    pid = studio.start_game()
    studio.show(wddm=False)
    waiting = studio.until("at_risk")
    assert f"counts after {FOR_SECONDS} s" in waiting["headline"]
    below = studio.until("below")
    assert below["headline"] == "Cannot serve mass now: game.exe holds 6.0 GiB of GPU 0"
    assert below["reasons"][0] == (
        f"GPU 0 has 9.6 GiB available, mass needs 14.0 GiB: 6.0 GiB held by game.exe (pid {pid})."
    )
    assert f"Ending game.exe (pid {pid}) would let it serve mass." in below["reasons"]
    assert (below["can_serve"], below["could_serve"]) == ("light", "mass")
    page = studio.dashboard.get("")
    assert "Cannot serve mass now: game.exe holds 6.0" in re.sub(r"\s+", " ", page)
    headroom = studio.dashboard.value(
        "tierwatch_headroom_bytes", machine=MACHINE, gpu="0", tier="mass"
    )
    assert headroom == (16376 - 376 - GAME_MIB) * 2**20 - 15 * 10**9

    studio.end_game()
    studio.show(wddm=False)
    after = studio.until("ok")
    assert after["can_serve"] == "mass"


def test_under_wddm_it_says_that_the_figure_is_a_lower_bound(studio: Studio) -> None:
    pid = studio.start_game()
    studio.show(wddm=True)
    verdict = eventually(
        studio.verdict,
        lambda v: v["state"] == "at_risk" and "game.exe" in " ".join(v["reasons"]),
        "the machine at risk",
    )
    assert verdict["gpus"][0]["lower_bound"] is True
    assert verdict["reasons"][0] == (
        "GPU 0 has at least 4.5 GiB available, mass needs 14.0 GiB; this is a lower bound: Windows "
        f"does not tell how much ComfyUI (pid {studio.comfyui.pid}) holds."
    )
    assert f"game.exe (pid {pid})" in verdict["reasons"][1]
    assert "at least" in studio.dashboard.get("")


def test_under_wddm_without_a_generation_server_free_is_exact(studio: Studio) -> None:
    pid = studio.start_game()
    studio.show(wddm=True, comfyui=False)
    below = studio.until("below")
    assert below["gpus"][0]["lower_bound"] is False
    assert f"6.0 GiB held by game.exe (pid {pid})" in below["reasons"][0]
