from __future__ import annotations

import pytest

from tests.fakes.servers.comfyui import Version, recorded
from tierwatch_agent.servers.comfyui_log import LogReader


def read(*lines: str) -> LogReader:
    log = LogReader()
    for at, line in enumerate(lines):
        log.take(line, float(at))
    return log


def test_a_bar_tells_step_and_pace() -> None:
    log = read("\r 25%|##5       | 5/20 [00:10<00:30,  2.00s/it]")
    assert (log.pace.step, log.pace.steps, log.seconds_per_step) == (5, 20, 2.0)


def test_a_pace_in_steps_a_second_is_turned_around() -> None:
    assert read("\r 25%|##5       | 5/20 [00:01<00:03,  4.00it/s]").seconds_per_step == 0.25


def test_steps_that_were_seen_tell_the_pace_better_than_the_bar() -> None:
    log = read(
        "\r 25%|##5       | 5/20 [00:01<00:03,  4.00it/s]",
        "\r 30%|###       | 6/20 [00:01<00:03,  4.00it/s]",
        "\r 35%|###5      | 7/20 [00:01<00:03,  4.00it/s]",
    )
    assert (log.pace.progressed_at, log.seconds_per_step) == (2.0, 1.0)


def test_a_bar_without_a_pace_yet_has_none() -> None:
    log = read("\r  0%|          | 0/20 [00:00<?, ?it/s]")
    assert (log.pace.step, log.seconds_per_step) == (0, None)


def test_another_bar_starts_over() -> None:
    log = read(
        "\r 95%|######### | 19/20 [00:01<00:03,  4.00it/s]",
        "\r100%|##########| 20/20 [00:01<00:00,  4.00it/s]",
        "\r  0%|          | 0/8 [00:00<?, ?it/s]",
    )
    assert (log.pace.step, log.pace.steps, log.seconds_per_step) == (0, 8, None)


def test_a_bar_that_is_drawn_again_is_no_progress() -> None:
    bar = "\r100%|##########| 20/20 [00:01<00:00,  4.00it/s]"
    assert read(bar, "", bar).pace.progressed_at == 0.0


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        (
            "Warning: Ran out of memory when regular VAE decoding, retrying with tiled VAE "
            "decoding.\n",
            "tiles",
        ),
        ("out of memory error, increasing steps and trying again 2\n", "pieces"),
        (
            "loaded partially; 5000.00 MB usable, 4900.00 MB loaded, 2300.00 MB offloaded\n",
            "system",
        ),
        ("Got an OOM, unloading all loaded models.\n", "unloads"),
    ],
)
def test_memory_that_ran_short_is_told_until_the_job_ends(said: str, meaning: str) -> None:
    log = read("got prompt\n", said, "\r  5%|5         | 1/20 [00:01<00:19,  1.00s/it]")
    assert meaning in (log.strained or "")
    log.take("Prompt executed in 1.01 seconds\n", 9.0)
    assert (log.strained, log.pace.step) == (None, None)


def test_ordinary_lines_are_neither_steps_nor_strain() -> None:
    log = read(
        "got prompt\n",
        "loaded completely; 9000.00 MB usable, 4900.00 MB loaded, full load: True\n",
        "Unloaded partially: 100.00 MB freed, 4900.00 MB remains loaded\n",
        "model weight dtype torch.float16, 3/4 of it [sic]\n",
    )
    assert (log.pace.step, log.strained) == (None, None)


@pytest.mark.parametrize("version", ["0.27.0", "0.3.64"])
def test_the_log_of_a_real_server_is_read(version: Version) -> None:
    log, seen = LogReader(), set[tuple[int, int]]()
    for at, line in enumerate(recorded(version, "log")):
        log.take(line, float(at))
        if log.pace.step is not None and log.pace.steps is not None:
            seen.add((log.pace.step, log.pace.steps))
    assert {(step, 4) for step in range(5)} | {(3, 20), (6, 6)} <= seen
