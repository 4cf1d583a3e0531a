"""A command line taken apart: which program it is, and which script or module the program runs.

Pure, for Windows' and everybody's paths alike. Arguments may hold prompts and passwords, so that
only the script's own name is ever for showing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

_PYTHON = re.compile(r"(python|pythonw|pypy)[0-9.]*")
_INTERPRETERS = frozenset({"bash", "dotnet", "node", "perl", "ruby", "sh"})
_TAKES_VALUE = "XW"
"""Python's own options that are followed by a value (``-X dev``)."""


class Command(msgspec.Struct, frozen=True):
    """What a command line runs. ``script`` is a path as given, ``module`` a dotted name."""

    program: str
    """Base name, without folder, version and ``.exe``: "python"."""
    script: str | None = None
    module: str | None = None
    arguments: tuple[str, ...] = ()
    """What follows the script or module; of any other program, everything."""

    @property
    def interpreted(self) -> bool:
        """Whether the program says little by itself, since it runs others' scripts."""
        return self.program == "python" or self.program in _INTERPRETERS

    @property
    def title(self) -> str:
        """For people, with none of the arguments: "python train.py", "python -m vllm.server"."""
        if self.script is not None:
            return f"{self.program} {base_name(self.script)}"
        return f"{self.program} -m {self.module}" if self.module else self.program


def base_name(path: str) -> str:
    """The last part of a path of either kind."""
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1]


def folder_name(path: str) -> str:
    """The name of the folder that a path's last part lies in; empty where the path has none."""
    return base_name(re.split(r"[\\/][^\\/]*$", path)[0]) if re.search(r"[\\/]", path) else ""


def parse(command_line: Sequence[str]) -> Command:
    """Takes a command line apart; of an empty one the program's name is empty."""
    if not command_line:
        return Command("")
    program = base_name(command_line[0]).removesuffix(".exe")
    rest = tuple(command_line[1:])
    if _PYTHON.fullmatch(program.lower()):
        return _parse_python(rest)
    # An option first may mean code next ("sh -c …"), which is not a name to show.
    if program.lower() in _INTERPRETERS and rest and not rest[0].startswith("-"):
        return Command(program.lower(), script=rest[0], arguments=rest[1:])
    return Command(program, arguments=rest)


def _parse_python(rest: tuple[str, ...]) -> Command:
    position = 0
    while position < len(rest):
        word = rest[position]
        following = rest[position + 1 :]
        if not word.startswith("-"):
            return Command("python", script=word, arguments=following)
        # Short options may be run together and end with one that takes the next word: "-Im".
        letters = "" if word.startswith("--") else word[1:]
        if word == "-" or "c" in letters:
            return Command("python")
        if letters.endswith("m") and following:
            return Command("python", module=following[0], arguments=following[1:])
        position += 2 if letters[-1:] and letters[-1] in _TAKES_VALUE else 1
    return Command("python")
