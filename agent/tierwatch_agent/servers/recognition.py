"""Which generation server a process is, by its command line, its folder and its ports.

Pure and driven by a table: a server is a row. ``main.py`` and ``launch.py`` are everybody's names,
so that they count only together with the server's folder, an option that no other program has, or
the port that the server listens on unless told otherwise.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Sequence

import msgspec

from tierwatch_agent.command_line import Command, base_name, folder_name, parse


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """How a generation server shows itself. All names in small letters."""

    server: str
    title: str
    """Its name for people."""
    programs: frozenset[str]
    """Names of its script, executable or module."""
    certain: bool = False
    """Nobody else's program bears such a name."""
    folder: re.Pattern[str] | None = None
    """What the folder of its script is called, or else the one it was started in."""
    options: frozenset[str] = frozenset()
    """Options that no other program of that name has."""
    ports: frozenset[int] = frozenset()
    """Where it listens unless told otherwise; none where other programs of that name do too."""


SIGNATURES = (
    # comfy/cli_args.py has the options. The desktop app's port, 8000, is half the world's, but its
    # script lies in a folder ComfyUI too.
    Signature(
        server="comfyui",
        title="ComfyUI",
        programs=frozenset({"main.py"}),
        folder=re.compile(r"comfy"),
        options=frozenset(
            {
                "--disable-smart-memory",
                "--extra-model-paths-config",
                "--front-end-root",
                "--front-end-version",
                "--preview-method",
                "--reserve-vram",
                "--windows-standalone-build",
            }
        ),
        ports=frozenset({8188}),
    ),
    Signature(
        server="sdnext",
        title="SD.Next",
        programs=frozenset({"launch.py", "webui.py"}),
        folder=re.compile(r"sd\.?next|^automatic$"),
        options=frozenset({"--use-cuda", "--use-rocm"}),
    ),
    Signature(
        server="forge",
        title="Forge",
        programs=frozenset({"launch.py", "webui.py"}),
        folder=re.compile(r"forge"),
        options=frozenset({"--always-offload-from-vram", "--cuda-stream", "--pin-shared-memory"}),
    ),
    Signature(
        server="a1111",
        title="A1111",
        programs=frozenset({"launch.py", "webui.py"}),
        folder=re.compile(r"stable-diffusion|sd-?webui|automatic1111|a1111"),
        options=frozenset({"--medvram", "--no-half-vae", "--nowebui", "--skip-torch-cuda-test"}),
    ),
    # 7860 is Gradio's own port: it speaks for launch.py, not for every webui.py there is.
    Signature(
        server="a1111",
        title="A1111",
        programs=frozenset({"launch.py"}),
        ports=frozenset({7860}),
    ),
    Signature(
        server="invokeai",
        title="InvokeAI",
        programs=frozenset(
            {"invokeai-web", "invokeai-web.exe", "invokeai-web.py", "invokeai.app.run_app"}
        ),
        certain=True,
    ),
    # Holds no VRAM itself: the ComfyUI processes that it starts do.
    Signature(
        server="swarmui",
        title="SwarmUI",
        programs=frozenset({"swarmui", "swarmui.dll", "stableswarmui", "stableswarmui.dll"}),
        certain=True,
    ),
)

TITLES = {signature.server: signature.title for signature in SIGNATURES}
"""Kind of server to its name for people."""


def recognise(
    command_line: Sequence[str], listening_ports: Collection[int] = (), cwd: str | None = None
) -> str | None:
    """The kind of generation server ("comfyui") that a process is; None: none that is known.

    Args:
        command_line: The process's arguments, its program first.
        listening_ports: TCP ports that it listens on, as far as they are known.
        cwd: The folder that it runs in.
    """
    command = parse(command_line)
    for signature in _of_that_name(command):
        if signature.certain or _agrees(signature, command, listening_ports, cwd):
            return signature.server
    return None


def plausible(command_line: Sequence[str]) -> bool:
    """Whether a process bears the name of a generation server, so that more about it can tell."""
    return bool(_of_that_name(parse(command_line)))


def _of_that_name(command: Command) -> list[Signature]:
    name = (command.module or base_name(command.script or command.program)).lower()
    return [signature for signature in SIGNATURES if name in signature.programs]


def _agrees(
    signature: Signature, command: Command, listening_ports: Collection[int], cwd: str | None
) -> bool:
    folder = folder_name(command.script or "").strip(".") or base_name(cwd or "")
    options = {argument.split("=")[0] for argument in command.arguments}
    ports = {*listening_ports, *asked_ports(command.arguments)}
    return (
        bool(signature.folder and signature.folder.search(folder.lower()))
        or not signature.options.isdisjoint(options)
        or not signature.ports.isdisjoint(ports)
    )


def asked_ports(arguments: Sequence[str]) -> set[int]:
    """The port that a command line asks for: ``--port 8188`` or ``--port=8188``."""
    words = [word for argument in arguments for word in argument.split("=", 1)]
    return {
        int(value)
        for option, value in itertools.pairwise(words)
        if option == "--port" and value.isdecimal()
    }
