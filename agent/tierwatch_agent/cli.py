"""The command ``tierwatch-agent``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from tierwatch_agent import __version__, config, logs

USAGE_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; 0 on success, 2 with one line on a usage or configuration error."""
    options = _parser().parse_args(arguments)
    try:
        settings = config.load(
            options.config,
            flags={
                "listen": getattr(options, "listen", None),
                "machine": options.machine,
                "log_format": options.log_format,
            },
        )
        if options.command == "check":
            logs.set_up(settings.log_format, logging.WARNING)
            from tierwatch_agent.check import check

            print(check(settings, as_json=options.json))
        else:
            logs.set_up(settings.log_format)
            from tierwatch_agent.run import run

            run(settings)
    except config.ConfigError as error:
        print(f"tierwatch-agent: {error}", file=sys.stderr)
        return USAGE_ERROR
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tierwatch-agent",
        description="One machine's GPUs, judged by what they can produce.",
    )
    parser.add_argument("--version", action="version", version=f"tierwatch-agent {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run",
        help="serves this machine's metrics until it is ended",
        epilog="example: tierwatch-agent run --listen 0.0.0.0:9838 --machine render-01",
    )
    run.add_argument("--listen", metavar="HOST:PORT", help="default 127.0.0.1:9838")
    check = commands.add_parser(
        "check",
        help="what this machine can make right now, on one screen",
        epilog="example: tierwatch-agent check --json",
    )
    check.add_argument("--json", action="store_true", help="for programs")
    for command in (run, check):
        command.add_argument("--config", type=Path, metavar="FILE", help="settings (TOML)")
        command.add_argument("--machine", metavar="ID", help="its id; default: its hostname")
        command.add_argument("--log-format", metavar="FORMAT", help="text (default) or json")
    return parser


if __name__ == "__main__":
    sys.exit(main())
