from __future__ import annotations

import shlex

import pytest

from tierwatch_agent.servers.recognition import SIGNATURES, TITLES, plausible, recognise

DESKTOP = (
    r"C:\Users\k\Documents\ComfyUI\.venv\Scripts\python.exe",
    r"C:\Users\k\AppData\Local\Programs\@comfyorgcomfyui-electron\resources\ComfyUI\main.py",
    "--user-directory",
    r"D:\ComfyUI\user",
    "--port",
    "8000",
)


@pytest.mark.parametrize(
    ("server", "command_line", "cwd", "ports"),
    [
        ("comfyui", "python main.py --listen --port 8199", "/home/k/ComfyUI", ()),
        ("comfyui", "python3 /opt/comfyui/main.py", "/", ()),
        ("comfyui", "python -u ./main.py --listen", "/workspace/ComfyUI", ()),
        ("comfyui", "python main.py --listen 0.0.0.0", "/app", (8188,)),
        ("comfyui", "python main.py --listen --port 8188", None, ()),
        ("comfyui", "python main.py --listen --port=8188", "/app", ()),
        ("comfyui", "python main.py --reserve-vram 1.0 --port 9000", "/app", ()),
        ("comfyui", "python main.py --preview-method=auto", None, ()),
        (
            "comfyui",
            r".\python_embeded\python.exe -s ComfyUI\main.py --windows-standalone-build",
            r"D:\ComfyUI_windows_portable",
            (),
        ),
        ("a1111", "python3 launch.py --xformers", "/home/k/stable-diffusion-webui", ()),
        ("a1111", "python launch.py", "/app", (7860,)),
        ("a1111", "python webui.py --medvram", "/app", ()),
        ("forge", "python launch.py --api", r"D:\AI\stable-diffusion-webui-forge", ()),
        ("forge", "python launch.py --cuda-stream --api", "/app", (7860,)),
        ("forge", "python launch.py", "/data/Packages/Stable Diffusion WebUI Forge - Neo", ()),
        ("sdnext", "python launch.py --listen", "/srv/sdnext", (7860,)),
        ("sdnext", "python launch.py", "/srv/automatic", ()),
        ("sdnext", "python launch.py --use-rocm", "/app", (7860,)),
        ("invokeai", "/opt/venv/bin/python /opt/venv/bin/invokeai-web --root /data", "/", ()),
        ("invokeai", r"C:\invoke\.venv\Scripts\invokeai-web.exe", None, ()),
        ("invokeai", "python -m invokeai.app.run_app", None, ()),
        ("swarmui", "dotnet bin/SwarmUI.dll --launch_mode web", None, ()),
        ("swarmui", "./src/bin/live_release/SwarmUI", None, ()),
        # SwarmUI's own backend is a ComfyUI like any other.
        ("comfyui", "python main.py --port 7821", "/opt/SwarmUI/dlbackend/ComfyUI", (7821,)),
    ],
)
def test_a_generation_server_is_recognised(
    server: str, command_line: str, cwd: str | None, ports: tuple[int, ...]
) -> None:
    words = shlex.split(command_line, posix="\\" not in command_line)
    assert recognise(words, ports, cwd) == server
    assert plausible(words)


def test_the_desktop_app_is_recognised_by_its_folder_not_by_port_8000() -> None:
    assert recognise(DESKTOP) == "comfyui"
    assert recognise(["python", "main.py", "--port", "8000"], {8000}, "/app") is None


@pytest.mark.parametrize(
    ("command_line", "cwd", "ports"),
    [
        ("python train.py", "/home/k/ComfyUI", (8188,)),
        ("python main.py --epochs 10", "/home/k/resnet", ()),
        ("python main.py", "/home/k/api", (8000,)),
        ("python main.py", None, ()),
        ("python launch.py", "/home/k/cluster", (6006,)),
        # Gradio's own port: any of its demos listens there.
        ("python webui.py", "/home/k/speech", (7860,)),
        ("python app.py", "/home/k/demo", (7860,)),
        # A node's own process, below ComfyUI's folder and not in it.
        ("python /opt/ComfyUI/custom_nodes/trainer/main.py", "/", ()),
        ("python -c 'import main.py'", "/home/k/ComfyUI", ()),
        ("vim main.py", "/home/k/ComfyUI", ()),
        ("/usr/lib/xorg/Xorg :0", "/", ()),
        (r"C:\Games\game.exe", None, ()),
        ("ollama runner", "/", (11434,)),
    ],
)
def test_everybody_else_is_nobody(
    command_line: str, cwd: str | None, ports: tuple[int, ...]
) -> None:
    assert recognise(shlex.split(command_line), ports, cwd) is None


def test_an_empty_command_line_is_nobodys() -> None:
    assert recognise([], {8188}, "/opt/ComfyUI") is None
    assert not plausible([])


@pytest.mark.parametrize("name", ["main.py", "launch.py", "webui.py"])
def test_a_name_that_many_programs_bear_is_worth_a_second_look(name: str) -> None:
    assert plausible(["python", name])


def test_a_training_script_is_not_worth_one() -> None:
    assert not plausible(["python", "train.py"])


def test_every_row_can_match_and_is_in_small_letters() -> None:
    for signature in SIGNATURES:
        assert signature.certain or signature.folder or signature.options or signature.ports
        assert {name.lower() for name in signature.programs} == signature.programs
        assert TITLES[signature.server] == signature.title
