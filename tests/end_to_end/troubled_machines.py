"""Machines that get into trouble on demand: a fake driver, a real agent, real processes on it."""

from __future__ import annotations

import json
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

from tests.end_to_end.running_dashboard import machine_table
from tests.fakes.nvml import Card, Driver, FakeNvml, Proc
from tests.fakes.plain_comfyui import PlainComfyUI
from tests.fakes.webhook import Webhook
from tests.processes import RunningAgent, free_port

CARD = Card(name="NVIDIA GeForce RTX 4080 SUPER", total_mib=16376, reserved_mib=376)
MODEL_MIB = 9000
JOB = "prompt-1"
STEPS = 400
STEP_SECONDS = 0.25


class TroubledMachine:
    """One machine with one card, assigned to mass. A context manager: leaving it ends it."""

    def __init__(self, folder: Path, id_: str, config: str = "") -> None:
        self.id = id_
        self._fake = FakeNvml(folder)
        self._fake.write(Driver(cards=(CARD,)))
        # What else runs on this computer is none of this machine's business.
        self.agent = RunningAgent(
            folder,
            config=f"discover = false\n{config}",
            environment=self._fake.env,
            machine=id_,
        )

    def __enter__(self) -> TroubledMachine:
        self.agent.wait_until_it_answers()
        return self

    def __exit__(self, *_: object) -> None:
        self.agent.end()

    @property
    def table(self) -> str:
        """Its place in the inventory, as TOML."""
        return machine_table(self.id, f"http://127.0.0.1:{self.agent.port}")

    def show(self, *processes: Proc) -> None:
        """Has the driver tell of these processes on the card."""
        self._fake.write(Driver(cards=(replace(CARD, procs=processes),)))


class StallingMachine(TroubledMachine):
    """Runs a ComfyUI whose extension tells the agent of its steps."""

    def __init__(self, folder: Path, id_: str) -> None:
        self.comfyui = PlainComfyUI(folder, free_port())
        url = f"http://127.0.0.1:{self.comfyui.port}"
        super().__init__(folder, id_, f'servers = [{{kind = "comfyui", url = "{url}"}}]\n')
        self._step = 0
        self._hold(MODEL_MIB)

    def __enter__(self) -> StallingMachine:
        super().__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.comfyui.end()
        super().__exit__()

    def begin(self) -> None:
        """A job begins, which the agent sees."""
        self.agent.until(lambda s: [each.state for each in s.servers] == ["up"], "its server")
        self.comfyui.play(start=JOB)
        self.agent.until(lambda s: s.servers[0].jobs, "a running job")

    def work(self, steps: int) -> None:
        """The job takes so many steps, at its own pace."""
        for _ in range(steps):
            self.step()
            time.sleep(STEP_SECONDS)

    def step(self) -> None:
        """The job takes a step."""
        self._step += 1
        told = {
            "server_port": self.comfyui.port,
            "prompt_id": JOB,
            "step": self._step,
            "steps": STEPS,
        }
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.agent.port}/api/v1/servers/steps",
            json.dumps(told).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=10).close()

    def fill(self) -> None:
        """The job has taken the whole card."""
        self._hold((CARD.total_mib or 0) - CARD.reserved_mib)

    def relieve(self) -> None:
        """Its memory is its own again, and it goes on."""
        self._hold(MODEL_MIB)
        self.step()

    def _hold(self, mebibytes: int) -> None:
        self.show(Proc(self.comfyui.process.pid, mebibytes))


class CrowdedMachine(TroubledMachine):
    """Makes no images: others may take its card."""

    def __enter__(self) -> CrowdedMachine:
        super().__enter__()
        return self

    def crowd(self) -> None:
        """A process that is nobody's generation server takes 6 GiB."""
        self.show(Proc(self.agent.process.pid, 6144))

    def clear(self) -> None:
        """It gives them back."""
        self.show()


def receiver(webhook: Webhook) -> str:
    """A webhook as the studio's only receiver, as TOML."""
    return f'[[alerts.receiver]]\nname = "studio"\nurl = "{webhook.url}"\n'
