"""C sources of the tests, compiled once with the system's compiler."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

BUILD = Path(__file__).parent.parent / ".build"


def compiled(source: Path, *flags: str) -> Path:
    """The program or library made of a C source; made again when the source changed."""
    digest = hashlib.sha256(source.read_bytes() + " ".join(flags).encode()).hexdigest()[:16]
    target = BUILD / f"{source.stem}-{digest}"
    if not target.exists():
        BUILD.mkdir(exist_ok=True)
        fresh = target.with_suffix(".new")
        command = [
            "cc",
            "-O1",
            "-Wall",
            "-Wextra",
            "-Werror",
            *flags,
            str(source),
            "-o",
            str(fresh),
        ]
        subprocess.run(command, check=True)
        fresh.rename(target)
    return target
