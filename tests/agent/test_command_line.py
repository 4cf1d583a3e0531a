from __future__ import annotations

import pytest

from tierwatch_agent.command_line import base_name, folder_name, parse


@pytest.mark.parametrize(
    ("command_line", "title"),
    [
        (["python", "train.py", "--token", "hunter2"], "python train.py"),
        (["/usr/bin/python3.11", "-u", "/srv/jobs/train.py"], "python train.py"),
        ([r"C:\Python311\pythonw.exe", r"D:\jobs\train.py"], "python train.py"),
        (["python", "-X", "dev", "-W", "error", "train.py"], "python train.py"),
        (["python", "-m", "vllm.entrypoints.openai.api_server"], "python -m vllm.entrypoints"),
        (["python3", "-Im", "http.server", "8000"], "python -m http.server"),
        (["python", "-c", "print('my password')"], "python"),
        (["python", "-uc", "print('my password')"], "python"),
        (["python", "-", "secret"], "python"),
        (["python"], "python"),
        (["dotnet", "SwarmUI.dll", "--launch_mode", "none"], "dotnet SwarmUI.dll"),
        (["bash", "-c", "curl -u me:secret https://example.org"], "bash"),
        (["/bin/sh", "/opt/webui.sh"], "sh webui.sh"),
        ([r"C:\Games\Game\game.exe", "-windowed"], "game"),
        ([], ""),
    ],
)
def test_a_title_names_the_script_and_no_argument(command_line: list[str], title: str) -> None:
    assert parse(command_line).title.startswith(title)
    for secret in ("hunter2", "password", "secret", "8000", "windowed"):
        assert secret not in parse(command_line).title


def test_what_follows_the_script_is_its_arguments() -> None:
    assert parse(["python", "-s", "main.py", "--port", "1"]).arguments == ("--port", "1")
    assert parse(["python", "-m", "main", "--port", "1"]).arguments == ("--port", "1")
    assert parse(["game", "--port", "1"]).arguments == ("--port", "1")


def test_a_program_that_runs_others_scripts_is_told_apart() -> None:
    assert parse(["python3.12", "train.py"]).interpreted
    assert parse(["node", "server.js"]).interpreted
    assert not parse(["game.exe"]).interpreted


@pytest.mark.parametrize(
    ("path", "base", "folder"),
    [
        ("/opt/ComfyUI/main.py", "main.py", "ComfyUI"),
        (r"ComfyUI\main.py", "main.py", "ComfyUI"),
        (r"C:\main.py", "main.py", "C:"),
        ("main.py", "main.py", ""),
        ("./main.py", "main.py", "."),
        ("/opt/ComfyUI/", "ComfyUI", "opt"),
    ],
)
def test_paths_of_either_kind_come_apart(path: str, base: str, folder: str) -> None:
    assert base_name(path) == base
    assert folder_name(path.rstrip("/")) == folder
