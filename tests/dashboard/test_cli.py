"""The command ``tierwatch`` as people meet it: what it prints, and with what it exits."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.webhook import Webhook
from tierwatch_agent import __version__
from tierwatch_dashboard.cli import EXTRA, main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str, str]:
    try:
        code: object = main(arguments)
    except SystemExit as ended:
        code = ended.code
    said = capsys.readouterr()
    return code, said.out, said.err


def python(program: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], cwd=cwd, text=True, capture_output=True, timeout=60
    )


def test_the_version_is_the_distribution_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, f"tierwatch {__version__}\n", "")


@pytest.mark.parametrize("command", ["serve", "demo", "rules", "notify test", "can"])
def test_help_shows_an_example(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, said, _ = run(capsys, *command.split(), "--help")
    assert code == 0
    assert f"example: tierwatch {command} --" in said


@pytest.mark.parametrize(
    "arguments", [(), ("report",), ("serve", "--port", "1"), ("demo", "--machines", "0")]
)
def test_wrong_usage_exits_with_2(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    code, said, error = run(capsys, *arguments)
    assert (code, said) == (2, "")
    assert "error: " in error


def test_without_a_file_it_says_what_to_write(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "site"))
    code, _, error = run(capsys, "serve")
    assert code == 2
    assert error.startswith("tierwatch: there is no tierwatch.toml here, nor ")
    assert '[[machine]]\nid = "render-01"' in error


def test_a_wrong_setting_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "tierwatch.toml"
    file.write_text("[dashboard]\npol_interval = '5s'\n")
    assert run(capsys, "serve", "--config", str(file)) == (
        2,
        "",
        f'tierwatch: {file}: dashboard: "pol_interval" is not known here. '
        "Did you mean poll_interval?\n",
    )


def test_a_wrong_address_for_the_demo_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, error = run(capsys, "demo", "--listen", "8090")
    assert code == 2
    assert error == 'tierwatch: --listen: "8090" is not HOST:PORT, such as 127.0.0.1:8090 or ' + (
        "[::1]:8090\n"
    )


@pytest.mark.parametrize("missing", ["flask", "sqlalchemy", "aiohttp"])
def test_an_agent_s_installation_says_what_to_install(tmp_path: Path, missing: str) -> None:
    (tmp_path / "tierwatch.toml").write_text('[[machine]]\nid = "a"\nurl = "http://a:9838"\n')
    gone = python(
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from tierwatch_dashboard.cli import main; sys.exit(main(['serve']))",
        tmp_path,
    )
    assert gone.returncode == 2
    assert gone.stderr == (
        "tierwatch: the dashboard needs more than an agent does: "
        f"pip install 'tierwatch[dashboard]' ({missing} is missing)\n"
    )


def test_the_extra_is_what_the_distribution_says() -> None:
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    extra = project.split("[project.optional-dependencies]")[1].partition("]")[0]
    names = re.findall(r'^    "([A-Za-z0-9-]+)', extra, re.MULTILINE)
    assert {name.replace("-", "_") for name in names} == EXTRA


def test_help_and_version_load_nothing_of_the_dashboard_s_extra(tmp_path: Path) -> None:
    loaded = python(
        "import sys\nfrom tierwatch_dashboard.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        f"sys.exit(', '.join(set({sorted(EXTRA)}) & sys.modules.keys()))",
        tmp_path,
    )
    assert loaded.stderr.strip() == ""


def test_notify_test_sends_one_message_to_each_receiver_and_says_which_failed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "tierwatch.toml"
    with Webhook() as good, Webhook() as bad:
        file.write_text(
            f'[[alerts.receiver]]\nname = "ops"\nurl = "{good.url}"\n'
            f'[[alerts.receiver]]\nname = "artists"\nurl = "{bad.url}"\n'
        )
        assert run(capsys, "notify", "test", "--config", str(file)) == (
            0,
            "ops: ok\nartists: ok\n",
            "",
        )
        assert good.titles == bad.titles == ["Tierwatch: a test"]
        bad.refuse = True
        code, said, wrong = run(capsys, "notify", "test", "--config", str(file))
        assert (code, wrong) == (1, "")
        assert said.startswith("ops: ok\nartists: failed: ")
        assert "503" in said
        assert "s3cr3t" not in said
        assert len(good.told) == 2


def test_notify_test_without_a_receiver_says_how_to_add_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "tierwatch.toml"
    file.write_text("")
    code, said, wrong = run(capsys, "notify", "test", "--config", str(file))
    assert (code, said) == (2, "")
    assert wrong == f"tierwatch: {file} has no receiver; add one under [[alerts.receiver]]\n"
