"""``tierwatch can``: asks a running dashboard which machine can run a recipe, and prints it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPException
from typing import Any
from urllib.parse import urlencode, urlsplit

from tierwatch_agent.wording import gib, pace

DEFAULT_URL = "http://127.0.0.1:8090"
TIMEOUT_SECONDS = 10.0

KINDS = {"now": "now", "emptied": "when emptied", "unknown": "not known", "never": "never"}


class CannotTell(Exception):
    """There is no answer; the text is one line that says why, with the mend."""


def ask(url: str, model: str, size: str, batch: int) -> Any:
    """A dashboard's answer, as its API documents it."""
    query = urlencode({"model": model, "size": size, "batch": batch})
    address = f"{url.rstrip('/')}/api/v1/can?{query}"
    if urlsplit(address).scheme not in ("http", "https"):
        raise CannotTell(f'--url: "{url}" is no address of a dashboard, such as {DEFAULT_URL}')
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise CannotTell(_said(error)) from error
    except (OSError, HTTPException, ValueError) as error:
        why = getattr(error, "reason", None) or error
        raise CannotTell(
            f"no dashboard answers at {url} ({why}): start it, or give its address with --url"
        ) from error


def table(answer: Mapping[str, Any]) -> Iterator[str]:
    """What is printed, line by line."""
    asked, need = answer["asked"], answer["need"]
    size = f"{asked['width']}x{asked['height']}"
    batch = f", {asked['batch']} at once" if asked["batch"] > 1 else ""
    wanted = need["need_bytes"]
    needs = f"more than {gib(need['at_least_bytes'])}" if wanted is None else gib(wanted)
    yield f"{asked['model']} at {size}{batch} needs {needs}: {answer['evidence']}"
    rows = [("MACHINE", "CARD", "CAN RUN IT", "TAKES", "WHY")]
    rows += [_row(each) for each in answer["machines"]]
    if len(rows) > 1:
        yield ""
        yield from _columns(rows)


def _row(each: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    seconds, lift = each["seconds"], each["lift"]
    about = "about " if each["timed_by"] == "sizes" else ""
    takes = "" if seconds is None else f"{about}{pace(seconds)}"
    why = f"{each['words']}; {lift} would do" if lift else each["words"]
    return each["machine"], each["card"] or "", KINDS[each["kind"]], takes, why


def _columns(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _said(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"])
    except (ValueError, KeyError, TypeError, OSError):
        return f"{error.url} answers HTTP {error.code}: is that a dashboard of this version?"
