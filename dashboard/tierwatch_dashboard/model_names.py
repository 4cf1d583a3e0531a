"""Which of the models that were used a name means, and which it may have meant. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from difflib import get_close_matches

from tierwatch_agent.words import commas, paragraph, say

NAMED = 8
_ENDINGS = (".safetensors", ".ckpt", ".gguf", ".sft", ".pt")


def meant(name: str, models: Collection[str]) -> str | None:
    """The model: by its name, or by that in any letters, without folder and ending."""
    if name in models:
        return name
    same = [model for model in models if _plain(model) == _plain(name)]
    return same[0] if len(same) == 1 else None


def not_known(name: str, models: Sequence[str]) -> str:
    """What to say of one that is none: what it may have meant, and which there are."""
    if not models:
        return say("No job of any model is known yet.")
    words = [say("No job with the model {model} is known.", model=name)]
    close = _close(name, models)
    if close is not None:
        words.append(say("Did you mean {model}?", model=close))
    listed = commas(list(models[:NAMED]))
    if len(models) > NAMED:
        more = len(models) - NAMED
        words.append(say("Known are {models} and {count} more.", models=listed, count=more))
    else:
        words.append(say("Known are {models}.", models=listed))
    return paragraph(words)


def _close(name: str, models: Sequence[str]) -> str | None:
    plain = {_plain(model): model for model in reversed(models)}
    part = next((each for each in plain if _plain(name) and _plain(name) in each), None)
    found = [part] if part else get_close_matches(_plain(name), plain, n=1, cutoff=0.5)
    return plain[found[0]] if found else None


def _plain(name: str) -> str:
    plain = name.replace("\\", "/").rpartition("/")[2].casefold().strip()
    return next((plain.removesuffix(end) for end in _ENDINGS if plain.endswith(end)), plain)
