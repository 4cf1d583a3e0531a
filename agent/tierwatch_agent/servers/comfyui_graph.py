"""What a ComfyUI graph says of the images it makes: model, size, batch, steps. Pure.

A graph holds prompts and file names: nothing leaves here but these figures and the model's name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from tierwatch_agent.servers.fields import rows, table, whole

MODEL_INPUTS = ("ckpt_name", "unet_name", "model_name")
"""Inputs that name a model's file, the one that makes the image first."""
FLOWS = ("images", "image", "pixels", "samples", "latent_image", "latents", "latent")
"""Inputs that an image, or what becomes one, flows through."""
MODEL_ENDINGS = (".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pth", ".bin")
LONGEST_NAME = 100
LARGEST_SIDE = 2**17
LARGEST_COUNT = 2**20

Inputs = Mapping[str, Any]
Nodes = Mapping[str, Inputs]


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """A job as its graph describes it; None: the graph does not tell."""

    model: str | None = None
    width: int | None = None
    height: int | None = None
    batch: int | None = None
    steps: int | None = None
    """The most that any of its nodes asks for."""


def shape(graph: object, outputs: Sequence[str] = ()) -> Shape:
    """Describes a graph in the API's format; whatever is not one describes nothing.

    Args:
        graph: Node id to ``{"class_type": .., "inputs": {..}}``.
        outputs: Ids of the nodes that save images, the most telling first.
    """
    nodes = _nodes(graph)
    width = height = batch = None
    for output in outputs:
        width, height = _size(nodes, output)
        if width is not None:
            batch = _batch(nodes, output)
            break
    return Shape(model=_model(nodes), width=width, height=height, batch=batch, steps=_steps(nodes))


def size_of(graph: object, output: str) -> tuple[int, int] | None:
    """Width and height of the images that one node saves, as far as the graph tells."""
    width, height = _size(_nodes(graph), output)
    return (width, height) if width is not None and height is not None else None


def _nodes(graph: object) -> Nodes:
    """The inputs of each node."""
    return {str(key): table(node, "inputs") for key, node in table(graph).items()}


def _model(nodes: Nodes) -> str | None:
    for wanted in MODEL_INPUTS:
        for inputs in nodes.values():
            name = inputs.get(wanted)
            if isinstance(name, str) and name:
                return _bare(name)
    return None


def _bare(name: str) -> str:
    """The name without its folders, which may be a client's, and without its ending."""
    base = name.replace("\\", "/").rsplit("/", 1)[-1]
    for ending in MODEL_ENDINGS:
        if base.lower().endswith(ending):
            base = base[: -len(ending)]
            break
    return base[:LONGEST_NAME]


def _steps(nodes: Nodes) -> int | None:
    asked = [_count(nodes, inputs.get("steps"), LARGEST_COUNT) for inputs in nodes.values()]
    return max((steps for steps in asked if steps), default=None)


def _size(nodes: Nodes, output: str) -> tuple[int | None, int | None]:
    """The size nearest upstream of an output, times what scales it on the way."""
    factor = 1.0
    for inputs in _upstream(nodes, output):
        width = _count(nodes, inputs.get("width"), LARGEST_SIDE)
        height = _count(nodes, inputs.get("height"), LARGEST_SIDE)
        if width and height:
            return round(width * factor), round(height * factor)
        if "upscale_model" in inputs or "megapixels" in inputs:
            break
        by = inputs.get("scale_by")
        if isinstance(by, int | float) and 0 < by < LARGEST_COUNT:
            factor *= by
    return None, None


def _batch(nodes: Nodes, output: str) -> int | None:
    for inputs in _upstream(nodes, output):
        if batch := _count(nodes, inputs.get("batch_size"), LARGEST_COUNT):
            return batch
    return None


def _upstream(nodes: Nodes, output: str) -> Iterator[Inputs]:
    """The nodes that an image comes from, from the one that saves it back to where it began."""
    seen: set[str] = set()
    at: str | None = output
    while at is not None and at not in seen and at in nodes:
        seen.add(at)
        inputs = nodes[at]
        yield inputs
        sources = (_source(inputs.get(flow)) for flow in FLOWS)
        at = next((source for source in sources if source is not None), None)


def _source(value: object) -> str | None:
    """The node that an input is linked to: ``["4", 0]``."""
    link = rows(value)
    return str(link[0]) if len(link) == 2 else None


def _count(nodes: Nodes, value: object, largest: int) -> int | None:
    """A whole number, written in place or in a node that holds nothing but a value."""
    source = _source(value)
    if source is not None:
        value = nodes.get(source, {}).get("value")
    count = whole(value)
    return count if count is not None and 0 < count <= largest else None
