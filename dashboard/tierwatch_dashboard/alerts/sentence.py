"""Sentences of rules, written once and said by the dashboard and by Prometheus alike. Pure.

``{machine}`` ``{tier}`` ``{gpu}`` ``{server}`` are an alert's labels, ``{value:.1f}`` its figure;
``{of_tier}`` is " (mass)", or nothing where the machine has no tier, and ``{a_gpu}`` "GPU 0", or
"a GPU" where none is meant in particular. ``{window}`` is how far back the rule looks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from string import Formatter

from tierwatch_agent.wording import duration

_LABELS = ("machine", "tier", "gpu", "server")
_GO = {
    **{name: f"{{{{ $labels.{name} }}}}" for name in _LABELS},
    "of_tier": "{{ with $labels.tier }} ({{ . }}){{ end }}",
    "a_gpu": "{{ with $labels.gpu }}GPU {{ . }}{{ else }}a GPU{{ end }}",
}


def said(sentence: str, labels: Mapping[str, str], value: float, window_seconds: float) -> str:
    """A sentence as the dashboard says it."""
    tier, gpu = labels.get("tier"), labels.get("gpu")
    return sentence.format(
        **{name: labels.get(name, "") for name in _LABELS},
        of_tier=f" ({tier})" if tier else "",
        a_gpu=f"GPU {gpu}" if gpu else "a GPU",
        value=value,
        window=duration(window_seconds),
    )


def template(sentence: str, window_seconds: float) -> str:
    """The same sentence as a template that Prometheus fills in."""
    return "".join(_pieces(sentence, window_seconds))


def _pieces(sentence: str, window_seconds: float) -> Iterator[str]:
    for text, name, shape, _ in Formatter().parse(sentence):
        yield text
        if name == "window":
            yield duration(window_seconds)
        elif name == "value":
            yield f'{{{{ printf "%{shape}" $value }}}}'
        elif name is not None:
            yield _GO[name]
