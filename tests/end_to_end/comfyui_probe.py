"""For the custom_nodes of a real ComfyUI under test: a node that steps and one that fails."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import comfy.utils  # pyright: ignore[reportMissingImports]
import torch  # pyright: ignore[reportMissingImports]
from tqdm import trange  # pyright: ignore[reportMissingModuleSource]


class TierwatchSteps:
    """Passes an image on after some steps, told by ComfyUI's own bar or by the log's alone."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "run"
    CATEGORY = "tierwatch"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {
            "required": {
                "image": ("IMAGE",),
                "steps": ("INT", {"default": 20}),
                "delay": ("FLOAT", {"default": 0.1}),
                "told_in": (["bar", "log"],),
            }
        }

    def run(self, image: Any, steps: int, delay: float, told_in: str) -> tuple[Any]:
        bar = comfy.utils.ProgressBar(steps)
        for _ in trange(steps, disable=told_in != "log"):
            time.sleep(delay)
            comfy.model_management.throw_exception_if_processing_interrupted()
            if told_in == "bar":
                bar.update(1)
        return (image,)


class TierwatchFailure:
    """Fails as a node does whose memory does not suffice, or in some other way."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "run"
    CATEGORY = "tierwatch"
    KINDS: ClassVar = {
        "cuda": lambda: torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
        "accelerator": lambda: torch.AcceleratorError("CUDA error: out of memory", 2),
        "other": lambda: ValueError("a failure that was asked for"),
    }

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        kinds = [*cls.KINDS, "memory"]
        return {"required": {"image": ("IMAGE",), "kind": (kinds,), "salt": ("INT", {})}}

    def run(self, image: Any, kind: str, salt: int) -> tuple[Any]:
        if kind == "memory":
            torch.empty(10**14)
        raise self.KINDS[kind]()


NODE_CLASS_MAPPINGS = {
    "TierwatchSteps": TierwatchSteps,
    "TierwatchFailure": TierwatchFailure,
}
