from __future__ import annotations

import pytest

from tests.fakes.servers.comfyui import node, text_to_image
from tierwatch_agent.servers.comfyui_graph import Shape, shape, size_of


def test_a_graph_tells_model_size_batch_and_steps() -> None:
    assert shape(text_to_image(), ["3"]) == Shape(
        model="juggernaut_xl", width=1024, height=768, batch=4, steps=30
    )


def test_the_size_is_that_of_the_image_saved_not_that_of_the_first_latent() -> None:
    graph = text_to_image(
        **{
            "7": node("LatentUpscale", samples=["5", 0], width=2048, height=1536),
            "6": node("VAEDecode", samples=["7", 0]),
        }
    )
    assert size_of(graph, "3") == (2048, 1536)


def test_scaling_by_a_factor_counts() -> None:
    graph = text_to_image(
        **{
            "7": node("ImageScaleBy", image=["6", 0], scale_by=1.5),
            "3": node("SaveImage", images=["7", 0]),
        }
    )
    assert size_of(graph, "3") == (1536, 1152)


def test_an_upscaling_model_leaves_the_size_unknown() -> None:
    graph = text_to_image(
        **{
            "8": node("UpscaleModelLoader", model_name="4x.pth"),
            "7": node("ImageUpscaleWithModel", image=["6", 0], upscale_model=["8", 0]),
            "3": node("SaveImage", images=["7", 0]),
        }
    )
    assert size_of(graph, "3") is None
    assert shape(graph, ["3"]).model == "juggernaut_xl"


def test_a_value_from_a_node_that_holds_one_is_followed() -> None:
    graph = text_to_image(
        **{
            "9": node("PrimitiveInt", value=640),
            "4": node("EmptyLatentImage", width=["9", 0], height=["9", 0], batch_size=1),
        }
    )
    assert size_of(graph, "3") == (640, 640)


def test_steps_may_stand_in_a_scheduler() -> None:
    graph = {
        "1": node("UNETLoader", unet_name="flux/flux1-dev.sft"),
        "2": node("BasicScheduler", steps=20),
        "3": node("SamplerCustomAdvanced", sigmas=["2", 0], latent_image=["4", 0]),
        "4": node("EmptySD3LatentImage", width=512, height=512, batch_size=2),
        "5": node("VAEDecode", samples=["3", 0]),
        "6": node("SaveImage", images=["5", 0]),
    }
    assert shape(graph, ["6"]) == Shape(model="flux1-dev", width=512, height=512, batch=2, steps=20)


def test_a_graph_in_a_circle_has_no_size() -> None:
    graph = {
        "1": node("A", image=["2", 0]),
        "2": node("B", image=["1", 0]),
        "3": node("SaveImage", images=["1", 0]),
    }
    assert size_of(graph, "3") is None


@pytest.mark.parametrize(
    "graph",
    [
        None,
        [],
        "graph",
        {"1": None},
        {"1": {"inputs": []}},
        {"3": node("SaveImage", images=["nowhere", 0])},
        {"3": node("SaveImage", images=[["3"], {}])},
        {"3": node("SaveImage", width="wide", height=True)},
        {"3": node("SaveImage", width=-1, height=0)},
        {"3": node("SaveImage", width=10**9, height=10**9)},
        {"3": node("CheckpointLoaderSimple", ckpt_name=["1", 0])},
    ],
)
def test_what_is_no_graph_tells_nothing(graph: object) -> None:
    assert shape(graph, ["3"]) == Shape()
