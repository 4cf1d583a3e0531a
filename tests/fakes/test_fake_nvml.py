"""The fake driver itself: what nvidia-ml-py gets from it, and how a test moves it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.nvml import (
    ANY,
    GPU_IS_LOST,
    UNKNOWN,
    Card,
    Driver,
    FakeNvml,
    Proc,
    call_names,
)
from tests.processes import eventually

MIB = 2**20


class Client:
    """A Python process that has nvidia-ml-py, and evaluates what it is asked."""

    def __init__(self, fake: FakeNvml) -> None:
        loop = (
            "import sys; from pynvml import *\n"
            "card = lambda index=0: nvmlDeviceGetHandleByIndex(index)\n"
            "for line in sys.stdin:\n"
            "    try: said = repr(eval(line))\n"
            "    except NVMLError as error: said = f'NVMLError {error.value}'\n"
            "    print(said, flush=True)\n"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", loop],
            env={**os.environ, **fake.env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def says(self, expression: str) -> str:
        """Its value, or the error that it raised."""
        self.begin(expression)
        return self.finish()

    def begin(self, expression: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{expression}\n")
        self._process.stdin.flush()

    def finish(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def fake(tmp_path: Path) -> FakeNvml:
    return FakeNvml(tmp_path)


@pytest.fixture
def client(fake: FakeNvml) -> Iterator[Client]:
    process = Client(fake)
    yield process
    process.end()


def test_a_world_is_in_force_whole_from_the_next_call_on(fake: FakeNvml, client: Client) -> None:
    fake.write(Driver(version="560.35.03", cards=(Card(procs=(Proc(7, 1000),)),)))
    assert client.says("nvmlInit()") == "None"
    assert client.says("nvmlSystemGetDriverVersion(), nvmlDeviceGetCount()") == "('560.35.03', 1)"
    used = "nvmlDeviceGetMemoryInfo(card(), version=nvmlMemory_v2).used"
    assert client.says(used) == str(1000 * MIB)
    for mib in range(100):
        fake.write(Driver(version="560.35.03", cards=(Card(used_mib=mib),)))
        assert client.says(used) == str(mib * MIB)


def test_a_handle_stays_with_its_card(fake: FakeNvml, client: Client) -> None:
    one, two = Card(uuid="GPU-one"), Card(uuid="GPU-two")
    fake.write(Driver(cards=(one, two)))
    client.says("nvmlInit()")
    client.says("globals().update(second=card(1))")
    fake.write(Driver(cards=(two,)))
    assert client.says("nvmlDeviceGetUUID(card(0)), nvmlDeviceGetUUID(second)") == (
        "('GPU-two', 'GPU-two')"
    )
    fake.write(Driver(cards=(one,)))
    assert client.says("nvmlDeviceGetUUID(second)") == f"NVMLError {GPU_IS_LOST}"


def test_errors_are_of_a_call_on_a_card_or_of_all(fake: FakeNvml, client: Client) -> None:
    fake.write(
        Driver(cards=(Card(errors={"nvmlDeviceGetName": UNKNOWN}), Card(errors={ANY: GPU_IS_LOST})))
    )
    client.says("nvmlInit()")
    assert client.says("nvmlDeviceGetName(card(0))") == f"NVMLError {UNKNOWN}"
    assert client.says("nvmlDeviceGetTemperature(card(0), 0)") == "35"
    assert client.says("card(1)") == f"NVMLError {GPU_IS_LOST}"


def test_nothing_is_told_before_the_library_is_initialised(client: Client) -> None:
    assert client.says("nvmlInit() or nvmlShutdown() or nvmlDeviceGetCount()") == "NVMLError 1"


def test_a_call_hangs_until_the_world_has_it_no_more(fake: FakeNvml, client: Client) -> None:
    fake.write(Driver(cards=(Card(),), hang=("nvmlDeviceGetCount_v2",)))
    client.says("nvmlInit()")
    client.begin("nvmlDeviceGetCount()")
    eventually(fake.calls, lambda made: "nvmlDeviceGetCount_v2" in made, "the call")
    fake.write(Driver(cards=(Card(), Card())))
    assert client.finish() == "2"


def test_every_call_is_counted_and_takes_as_long_as_is_said(fake: FakeNvml, client: Client) -> None:
    fake.write(Driver(cards=(Card(),), latency_us=20_000))
    client.says("nvmlInit()")
    took = client.says(
        "(t := __import__('time').monotonic, began := t(), "
        "[nvmlDeviceGetCount() for _ in range(5)], t() - began)[-1]"
    )
    assert float(took) >= 5 * 0.02
    assert fake.calls() == {"nvmlInitWithFlags": 1, "nvmlDeviceGetCount_v2": 5}


def test_the_library_can_be_taken_away_and_put_back(fake: FakeNvml) -> None:
    for act, said in ((fake.remove, "NVMLError 12"), (fake.restore, "None")):
        act()
        client = Client(fake)
        assert client.says("nvmlInit()") == said
        client.end()


def test_every_call_that_it_counts_is_there_to_be_called(client: Client) -> None:
    client.says("nvmlInit()")
    missing = f"[n for n in {call_names()} if not hasattr(__import__('pynvml').nvmlLib, n)]"
    assert client.says(missing) == "[]"
