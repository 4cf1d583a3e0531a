"""C sources of the tests, compiled once with the system's compiler."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

BUILD = Path(__file__).parent.parent / ".build"


def compiled(source: Path, *flags: str) -> Path:
    """The program or library made of a C source; made again when it or its headers changed."""
    parts = [source, *sorted(source.parent.glob("*.h"))]
    made_of = b"".join(part.read_bytes() for part in parts) + " ".join(flags).encode()
    digest = hashlib.sha256(made_of).hexdigest()[:16]
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
