"""What can be made, and where, as JSON: recipes, which machine can run one, where to send a job."""

from __future__ import annotations

import msgspec
from flask import Blueprint, abort, request
from werkzeug.wrappers import Response

from tierwatch_dashboard.app import services
from tierwatch_dashboard.confidence import Confidence, confidence, evidence
from tierwatch_dashboard.envelope import DAYS, CardFigures, Recipe
from tierwatch_dashboard.fit import Need
from tierwatch_dashboard.placement import Candidate, candidates
from tierwatch_dashboard.possible import Asked, Found, Possible
from tierwatch_dashboard.web import answers, paging
from tierwatch_dashboard.web.asking import (
    MOST_AT_ONCE,
    SIZE_PATTERN,
    AskedWrong,
    ModelNotKnown,
    asked_in,
    envelope,
    found,
)
from tierwatch_dashboard.web.openapi import Parameter, answers_with

bp = Blueprint("api_envelope", __name__, url_prefix="/api/v1")

RECIPE = (
    Parameter(
        name="model",
        words="the name of a model that was used here; its folder and ending may be left out",
        required=True,
    ),
    Parameter(
        name="size",
        words="width x height in pixels",
        schema={"type": "string", "pattern": SIZE_PATTERN},
        required=True,
    ),
    Parameter(
        name="batch",
        words="images made at once",
        schema={"type": "integer", "minimum": 1, "maximum": MOST_AT_ONCE, "default": 1},
    ),
)
NONE = {404: "This dashboard keeps no jobs of its own, or knows of no such model."}


class RecipeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What was made with one model at one size and batch on one kind of server."""

    server: str
    model: str
    width: int
    height: int
    batch: int
    jobs: int
    """Those that succeeded."""
    machines: int
    ooms: int
    oom_ratio: float
    p50_bytes: int | None
    """Peak VRAM of half of the jobs, at most."""
    p95_bytes: int | None
    worst_bytes: int | None
    exceeded_bytes: int | None
    """The most that a job had which ran out of memory all the same."""
    cards: tuple[CardFigures, ...]
    """By kind of card, the fastest first; of cards that are there no more nothing is told."""
    first_at: float
    last_at: float


class RecipesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Recipes, those of the most jobs first."""

    at: float
    days: int
    """How far back jobs count."""
    jobs: int
    left_out: int
    """Jobs of unknown model or size."""
    recipes: tuple[RecipeAnswer, ...]
    more: int
    """How many recipes more there are."""


class CanAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Which machines can run a recipe: now, when emptied, or never; the best first."""

    at: float
    server: str
    """The kind of server whose jobs the answer rests on."""
    asked: Asked
    need: Need
    confidence: Confidence
    evidence: str
    machines: tuple[Possible, ...]


class PlacementAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Servers that can run a job of a recipe now: the shortest queue first, then the fastest."""

    at: float
    asked: Asked
    need_bytes: int | None
    confidence: Confidence
    candidates: tuple[Candidate, ...]


@bp.get("/recipes")
@answers_with(
    RecipesAnswer,
    Parameter(name="model", words="a part of a model's name"),
    paging.LIMIT,
    refusals=NONE,
)
def recipes() -> Response:
    """What the studio makes: each recipe with its need, its time by card and its evidence."""
    known, most, part = envelope(), paging.limit(), request.args.get("model", "").casefold()
    every = [r for r in known.recipes.values() if part in r.name.model.casefold()]
    every.sort(key=lambda recipe: (-recipe.jobs, recipe.name))
    return answers.json(
        RecipesAnswer(
            at=services().now(),
            days=DAYS,
            jobs=known.jobs,
            left_out=known.left_out,
            recipes=tuple(_recipe(each) for each in every[:most]),
            more=max(0, len(every) - most),
        )
    )


@bp.get("/can")
@answers_with(CanAnswer, *RECIPE, refusals=NONE)
def can() -> Response:
    """Which machine can run a recipe: now, when emptied, or never, in what time, how sure."""
    asked, answer = _answered()
    return answers.json(
        CanAnswer(
            at=services().now(),
            server=answer.name.server,
            asked=asked,
            need=answer.need,
            confidence=confidence(answer.need),
            evidence=evidence(answer.need),
            machines=answer.machines,
        )
    )


@bp.get("/placement")
@answers_with(PlacementAnswer, *RECIPE, refusals=NONE)
def placement() -> Response:
    """Where to send a job of a recipe now: servers that can run it, best first, for schedulers."""
    asked, answer = _answered()
    return answers.json(
        PlacementAnswer(
            at=services().now(),
            asked=asked,
            need_bytes=answer.need.need_bytes,
            confidence=confidence(answer.need),
            candidates=candidates(answer, services().state.views()),
        )
    )


def _answered() -> tuple[Asked, Found]:
    known = envelope()
    try:
        asked = asked_in(request.args, known)
    except ModelNotKnown as error:
        abort(404, error.words)
    except AskedWrong as error:
        abort(400, error.words)
    answer = found(known, asked)
    if answer is None:
        abort(404, f"No job with the model {asked.model} is known.")
    return asked, answer


def _recipe(recipe: Recipe) -> RecipeAnswer:
    return RecipeAnswer(
        **recipe.name._asdict(),
        jobs=recipe.jobs,
        machines=len(recipe.machines),
        ooms=recipe.ooms,
        oom_ratio=recipe.oom_ratio,
        p50_bytes=recipe.p50_bytes,
        p95_bytes=recipe.p95_bytes,
        worst_bytes=recipe.worst_bytes,
        exceeded_bytes=recipe.exceeded_bytes,
        cards=recipe.cards,
        first_at=recipe.first_at,
        last_at=recipe.last_at,
    )
