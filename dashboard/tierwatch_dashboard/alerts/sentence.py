"""Sentences of rules, written once and said by the dashboard and by Prometheus alike. Pure.

``{machine}`` ``{tier}`` ``{gpu}`` ``{server}`` are an alert's labels, ``{value}`` its figure;
``{of_tier}`` is " (mass)", or nothing where the machine has no tier, and ``{a_gpu}`` "GPU 0", or
"a GPU" where none is meant in particular. ``{window}`` is how far back the rule looks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from string import Formatter

from tierwatch_agent.wording import duration
from tierwatch_agent.words import say

_LABELS = ("machine", "tier", "gpu", "server")
_GO = {
    **{name: f"{{{{ $labels.{name} }}}}" for name in _LABELS},
    "of_tier": "{{ with $labels.tier }} ({{ . }}){{ end }}",
    "a_gpu": "{{ with $labels.gpu }}GPU {{ . }}{{ else }}a GPU{{ end }}",
}


def said(sentence: str, labels: Mapping[str, str], value: str, window_seconds: float) -> str:
    """A sentence as the dashboard says it."""
    tier, gpu = labels.get("tier"), labels.get("gpu")
    values = {
        **{name: labels.get(name, "") for name in _LABELS},
        "of_tier": say(" ({tier})", tier=tier) if tier else "",
        "a_gpu": say("GPU {gpu}", gpu=gpu) if gpu else say("a GPU"),
        "value": value,
        "window": duration(window_seconds),
    }
    return say(
        sentence, **{name: each for name, each in values.items() if f"{{{name}}}" in sentence}
    )


def template(sentence: str, figure: str, window_seconds: float) -> str:
    """The same sentence as a template that Prometheus fills in; ``figure`` is its value's form."""
    return "".join(_pieces(sentence, figure, window_seconds))


def _pieces(sentence: str, figure: str, window_seconds: float) -> Iterator[str]:
    for text, name, _, _ in Formatter().parse(sentence):
        yield text
        if name == "window":
            yield duration(window_seconds)
        elif name == "value":
            yield f'{{{{ printf "%{figure}" $value }}}}'
        elif name is not None:
            yield _GO[name]
