"""The command ``tierwatch-agent``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from tierwatch_agent import __version__, config, logs

USAGE_ERROR = 2
_JOB_OPTIONS: dict[str, tuple[type, str]] = {
    "model": (str, "its name"),
    "width": (int, "of each image, in pixels"),
    "height": (int, "of each image, in pixels"),
    "batch": (int, "how many images it makes"),
    "steps": (int, "how many it takes; progress bars of another length are then no steps"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; 0 on success, 2 with one line on a usage or configuration error."""
    arguments, command = _apart(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command == "run-job":
        if not command:
            parser.error('the command stands after "--": tierwatch-agent run-job -- CMD')
        return _run_job(command, options)
    if command:
        parser.error(f'nothing stands after "--" for {options.command}')
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


def _apart(arguments: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """What is the agent's, and the command after ``--``, which is passed on as it is."""
    if "--" not in arguments:
        return arguments, ()
    at = list(arguments).index("--")
    return arguments[:at], arguments[at + 1 :]


def _run_job(command: Sequence[str], options: argparse.Namespace) -> int:
    from tierwatch_agent.jobs import job
    from tierwatch_agent.run_job import run_job

    about = {name: getattr(options, name) for name in _JOB_OPTIONS}
    return run_job(command, job(**about), options.steps)


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
    run_job = commands.add_parser(
        "run-job",
        help="runs a command as a job that the agent sees",
        usage="tierwatch-agent run-job [options] -- CMD ...",
        description="Runs a command and reports it as a job to this machine's agent, at "
        "TIERWATCH_AGENT_URL (default http://127.0.0.1:9838). Its output, its exit code and the "
        "signals it is sent are its own; without an agent it runs all the same.",
        epilog="example: tierwatch-agent run-job --model sdxl --steps 30 -- python generate.py",
    )
    for name, (kind, help_) in _JOB_OPTIONS.items():
        run_job.add_argument(f"--{name}", type=kind, help=help_)
    return parser


if __name__ == "__main__":
    sys.exit(main())
