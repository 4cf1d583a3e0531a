"""``tierwatch can`` against a dashboard on a socket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dashboard.doubles import Production, Studio
from tests.dashboard.produced import produced
from tests.end_to_end.served_studio import Dashboard
from tests.processes import free_port
from tierwatch_dashboard.cli import main


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    dashboard = Dashboard(Studio(production=Production(produced())))
    yield dashboard.at("")
    dashboard.stop()


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(("can", *arguments))
    said = capsys.readouterr()
    return (
        code,
        said.out,
        "\n".join(line for line in said.err.splitlines() if "HTTP/1.1" not in line),
    )


def test_it_prints_which_machine_can_run_it(capsys: pytest.CaptureFixture[str], url: str) -> None:
    code, said, error = run(capsys, "flux1-dev-Q8_0", "--size", "1344x768", "--url", url)
    lines = said.splitlines()
    assert (code, error) == (0, "")
    assert lines[0] == (
        "flux1-dev-Q8_0 at 1344x768 needs 12.5 GiB: few jobs: 10 jobs on 2 machines in 30 days"
    )
    assert lines[2].split() == ["MACHINE", "CARD", "CAN", "RUN", "IT", "TAKES", "WHY"]
    taken = next(line for line in lines if line.startswith("render-03"))
    assert "when emptied" in taken
    assert taken.endswith("9.7 GiB available; ending EldenRing.exe (pid 4711) would do")
    assert not any(line.endswith(" ") for line in lines)


def test_json_is_the_api_s_answer(capsys: pytest.CaptureFixture[str], url: str) -> None:
    code, said, _ = run(
        capsys, "sdxl_base", "--size", "1024x1024", "--batch", "4", "--url", url, "--json"
    )
    assert code == 0
    assert json.loads(said)["asked"]["batch"] == 4


def test_a_model_that_is_not_known_is_one_line_with_those_that_are(
    capsys: pytest.CaptureFixture[str], url: str
) -> None:
    assert run(capsys, "sdxl", "--size", "1024x1024", "--url", url) == (
        2,
        "",
        "tierwatch: No job with the model sdxl is known. Did you mean sdxl_base? "
        "Known are sdxl_base, flux1-dev-Q8_0.",
    )


def test_a_wrong_size_is_one_line(capsys: pytest.CaptureFixture[str], url: str) -> None:
    code, said, error = run(capsys, "sdxl_base", "--size", "big", "--url", url)
    assert (code, said) == (2, "")
    assert error == "tierwatch: size must be width x height in pixels, such as 1344x768"


def test_no_dashboard_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "tierwatch.toml"
    file.write_text(f'[dashboard]\nlisten = "127.0.0.1:{free_port()}"\n')
    code, said, error = run(capsys, "sdxl_base", "--size", "1024x1024", "--config", str(file))
    assert (code, said) == (2, "")
    assert error.startswith("tierwatch: no dashboard answers at http://127.0.0.1:")
    assert error.endswith("start it, or give its address with --url")


def test_an_address_that_is_none_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, error = run(capsys, "sdxl_base", "--size", "1024x1024", "--url", "file:///etc")
    assert code == 2
    assert error.startswith('tierwatch: --url: "file:///etc" is no address of a dashboard')
