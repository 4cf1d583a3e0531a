"""Tierwatch's extension for ComfyUI: tells this machine's agent which step a prompt is at.

A custom-node package without nodes. It listens to the server's own events and changes nothing.
"""

from __future__ import annotations

import logging

NODE_CLASS_MAPPINGS: dict[str, type] = {}

try:
    from server import PromptServer

    from .sender import Sender
    from .tap import Tap

    Tap(PromptServer.instance, Sender().offer).install()
except Exception as error:  # noqa: BLE001  A ComfyUI of another age runs without us.
    logging.getLogger(__name__).info("Tierwatch does not see this ComfyUI's steps: %r", error)
