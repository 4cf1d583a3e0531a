"""Points as a real Prometheus keeps them: its own tool makes its own blocks of them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from tierwatch_dashboard.history import GpuPoint

BLOCK_SECONDS = 7200.0
"""What Prometheus puts in a block."""
FIGURES = tuple(
    field for field in GpuPoint.__struct_fields__ if field not in ("machine", "gpu", "at")
)
"""Of a point: each is a sample of a series of its own."""


class Blocks(msgspec.Struct, frozen=True, kw_only=True):
    """What Prometheus made of points."""

    samples: int
    chunk_bytes: int
    """The samples alone, packed."""
    total_bytes: int
    """With the index of each block."""


class _Stats(msgspec.Struct, rename="camel"):
    num_samples: int = 0


class _Meta(msgspec.Struct):
    stats: _Stats


def blocks_of(points: Sequence[GpuPoint], folder: Path) -> Blocks:
    """Writes the points as OpenMetrics, two hours to a file, and has promtool make blocks."""
    made, text = folder / "blocks", folder / "points.om"
    by_block: dict[int, list[GpuPoint]] = {}
    for point in points:
        by_block.setdefault(int(point.at // BLOCK_SECONDS), []).append(point)
    for block in by_block.values():
        with text.open("w") as file:
            file.writelines(_open_metrics(block))
        command = ("promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet")
        subprocess.run([*command, str(text), str(made)], check=True, stdout=subprocess.DEVNULL)
    text.unlink()
    metas = [
        msgspec.json.decode(each.read_bytes(), type=_Meta) for each in made.glob("*/meta.json")
    ]
    return Blocks(
        samples=sum(meta.stats.num_samples for meta in metas),
        chunk_bytes=_size(made.glob("*/chunks/*")),
        total_bytes=_size(made.glob("**/*")),
    )


def _open_metrics(points: Sequence[GpuPoint]) -> Iterable[str]:
    for figure in FIGURES:
        metric = f"tierwatch_gpu_{figure}"
        yield f"# TYPE {metric} gauge\n"
        for point in points:
            labels = f'instance="{point.machine}:9838",job="tierwatch",gpu="{point.gpu}"'
            yield f"{metric}{{{labels}}} {getattr(point, figure)} {point.at:.3f}\n"
    yield "# EOF\n"


def _size(files: Iterable[Path]) -> int:
    return sum(file.stat().st_size for file in files if file.is_file())
