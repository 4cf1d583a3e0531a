"""The demo's studio: simulated machines of every tier, and what goes on on each.

Settings for the agents' ``simulated`` source (``gpus/simulated.py`` there): who holds how much of a
card, when; and for ``simulated`` generation servers (``servers/simulated.py``): what they make.
Memory in MiB, times in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import msgspec

Settings = dict[str, Any]


class SimulatedMachine(msgspec.Struct, frozen=True, kw_only=True):
    """A machine of the demo and what it is assigned to."""

    id: str
    tier: str
    tags: tuple[str, ...]
    cards: tuple[Settings, ...] = ()
    servers: tuple[str, ...] = ()
    """Addresses of its generation servers."""
    gpu_tiers: dict[str, str] = {}
    dies_after_seconds: float | None = None
    """When the demo ends its agent, as a power cut would."""


def studio(count: int) -> Iterator[SimulatedMachine]:
    """The first ``count`` machines; past those of the table, the table again under new names."""
    for number in range(count):
        round_, place = divmod(number, len(MACHINES))
        machine = MACHINES[place]
        name = f"{machine.id}-{round_ + 1}" if round_ else machine.id
        yield msgspec.structs.replace(machine, id=name)


def _card(name: str, vram_mib: int, *holders: Settings, **more: Any) -> Settings:
    return {"name": name, "vram_mib": vram_mib, "holders": list(holders), **more}


def _comfyui(mib: int, *, idle_mib: int, busy: float = 40, pause: float = 9) -> Settings:
    return {
        "name": "ComfyUI",
        "server": "comfyui",
        "mib": mib,
        "idle_mib": idle_mib,
        "on_seconds": busy,
        "off_seconds": pause,
        "load": 0.97,
    }


def _makes(
    model: str, width: int, height: int, *, seconds: float, pause: float = 9, **more: Any
) -> str:
    """A generation server's address: what each of its jobs makes, as long as its card is busy."""
    port = 8188 + more.pop("number", 0)
    plan = {"model": model, "width": width, "height": height, "seconds": seconds, "pause": pause}
    return f"simulated://127.0.0.1:{port}/?{urlencode(plan | more)}"


_FORGE = {
    "name": "Forge",
    "server": "forge",
    "mib": 6400,
    "idle_mib": 4300,
    "on_seconds": 18,
    "off_seconds": 25,
    "load": 0.93,
}
_DESKTOP = {"name": "dwm.exe", "mib": 720, "load": 0.02}
_GAME = {"name": "eldenring.exe", "mib": 6144, "delay_seconds": 12, "load": 0.7}

MACHINES = (
    SimulatedMachine(
        id="render-01",
        tier="mass",
        tags=("room:north", "project:aurora"),
        cards=(_card("RTX 4090", 24564, _comfyui(17800, idle_mib=11200), watts=450),),
        servers=(
            _makes("sdxl_base_1.0", 1024, 1024, seconds=40, queue=3, vram_mib=17800, gpu="SIM-0"),
        ),
    ),
    SimulatedMachine(
        id="render-02",
        tier="mass",
        tags=("room:north", "project:aurora"),
        cards=(_card("RTX 4080 SUPER", 16376, _comfyui(4900, idle_mib=4900), _DESKTOP, _GAME),),
        servers=(
            _makes("sdxl_base_1.0", 832, 1216, seconds=40, queue=12, vram_mib=4900, gpu="SIM-0"),
        ),
    ),
    SimulatedMachine(
        id="render-03",
        tier="mass",
        tags=("room:north", "project:aurora"),
        cards=(_card("RTX 4060 Ti", 16380, _comfyui(13100, idle_mib=6900, pause=4), watts=165),),
        servers=(
            _makes(
                "flux1-dev-Q8_0",
                1344,
                768,
                seconds=40,
                pause=4,
                steps=20,
                queue=5,
                vram_mib=13100,
                gpu="SIM-0",
                hang_every=2,
                hang_seconds=110,
            ),
        ),
    ),
    SimulatedMachine(
        id="render-04",
        tier="mass",
        tags=("room:south", "project:kite"),
        cards=(
            _card(
                "RTX 5080",
                16303,
                _comfyui(7400, idle_mib=6200),
                _DESKTOP,
                {"name": "chrome.exe", "mib": 1350},
                wddm=True,
                watts=360,
            ),
        ),
        servers=(_makes("sdxl_turbo", 1024, 1024, seconds=40, batch=4, steps=8, gpu="SIM-0"),),
    ),
    SimulatedMachine(
        id="render-05",
        tier="mass",
        gpu_tiers={"1": "production"},
        tags=("room:south", "project:aurora"),
        cards=(
            _card("RTX 5090", 32607, _comfyui(26800, idle_mib=14200, busy=70), watts=575),
            _card("RTX 5090", 32607, _comfyui(9800, idle_mib=8000, busy=12), watts=575),
        ),
        servers=(
            _makes("flux1-dev", 1536, 1024, seconds=70, queue=2, vram_mib=26800, gpu="SIM-0"),
            _makes("sdxl_base_1.0", 1024, 1024, seconds=12, number=1, vram_mib=9800, gpu="SIM-1"),
        ),
    ),
    SimulatedMachine(
        id="render-06",
        tier="production",
        tags=("room:south", "project:kite"),
        cards=(_card("RTX 4070", 12282, _comfyui(10100, idle_mib=6400, busy=22), watts=200),),
        servers=(
            _makes(
                "sd3.5_medium",
                1440,
                1440,
                seconds=22,
                queue=4,
                vram_mib=10100,
                gpu="SIM-0",
                oom_every=4,
            ),
        ),
    ),
    SimulatedMachine(
        id="render-07",
        tier="production",
        tags=("room:south", "project:kite"),
        cards=(
            _card(
                "RTX 3060",
                12288,
                _comfyui(5200, idle_mib=5200, busy=30),
                {**_GAME, "mib": 3900, "on_seconds": 75, "off_seconds": 75, "delay_seconds": 30},
                watts=170,
            ),
        ),
        servers=(
            _makes("sdxl_base_1.0", 1024, 1024, seconds=30, queue=1, vram_mib=5200, gpu="SIM-0"),
        ),
    ),
    SimulatedMachine(
        id="render-08",
        tier="production",
        tags=("room:attic", "project:kite"),
        cards=(_card("GTX 1080 Ti", 11264, _comfyui(6100, idle_mib=4300), watts=250),),
        servers=(
            _makes("sd15_inpainting", 768, 768, seconds=40, batch=2, vram_mib=6100, gpu="SIM-0"),
        ),
    ),
    SimulatedMachine(
        id="render-09",
        tier="mass",
        tags=("room:attic", "project:kite"),
        cards=(
            _card(
                "RTX 4070 Ti SUPER",
                16376,
                _comfyui(6900, idle_mib=6900),
                {"name": "A1111", "server": "a1111", "mib": 3300},
            ),
        ),
        servers=(
            _makes("sdxl_base_1.0", 1024, 1024, seconds=40, vram_mib=6900, gpu="SIM-0"),
            _makes(
                "dreamshaper_8",
                512,
                768,
                seconds=9,
                number=1,
                delay=1e6,
                vram_mib=3300,
                gpu="SIM-0",
            ),
        ),
    ),
    SimulatedMachine(
        id="render-10",
        tier="mass",
        tags=("room:attic", "project:aurora"),
        cards=(_card("RTX 3090", 24576, _comfyui(15100, idle_mib=9000), watts=350),),
        dies_after_seconds=35,
        servers=(_makes("sdxl_base_1.0", 1024, 1024, seconds=40, vram_mib=15100, gpu="SIM-0"),),
    ),
    SimulatedMachine(
        id="light-01",
        tier="light",
        tags=("room:attic",),
        cards=(_card("RTX 4060", 8188, _FORGE, watts=115),),
        servers=(
            _makes(
                "dreamshaper_8",
                512,
                768,
                seconds=18,
                pause=25,
                batch=4,
                steps=25,
                vram_mib=6400,
                gpu="SIM-0",
            ),
        ),
    ),
    SimulatedMachine(id="draft-01", tier="draft", tags=("room:north",)),
    SimulatedMachine(
        id="light-02",
        tier="light",
        tags=("room:north",),
        cards=(_card("GTX 1660 SUPER", 6144, {"name": "chrome.exe", "mib": 900}, watts=125),),
    ),
    SimulatedMachine(
        id="render-11",
        tier="mass",
        tags=("room:south", "project:aurora"),
        cards=(_card("RTX A4000", 16376, watts=140, lost_after_seconds=50),),
    ),
    SimulatedMachine(
        id="farm-01",
        tier="mass",
        gpu_tiers={"6": "production", "7": "production"},
        tags=("room:attic", "project:aurora"),
        cards=tuple(
            _card("L40S", 46068, _comfyui(27000 - 900 * number, idle_mib=12000), watts=350)
            for number in range(8)
        ),
        servers=tuple(
            _makes("flux1-dev", 1536, 1024, seconds=40, number=number, gpu=f"SIM-{number}")
            for number in range(8)
        ),
    ),
)
