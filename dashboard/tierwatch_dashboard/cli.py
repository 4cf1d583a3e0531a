"""The command ``tierwatch``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tierwatch_dashboard import __version__

USAGE_ERROR = 2
EXTRA = frozenset(
    {
        "aiohttp",
        "alembic",
        "apprise",
        "apscheduler",
        "flask",
        "flask_babel",
        "prometheus_client",
        "sqlalchemy",
        "tomlkit",
    }
)
"""What the dashboard needs beyond the agent: the distribution's extra of that name."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; 0 on success, 2 with one line on a usage or configuration error."""
    options = _parser().parse_args(arguments)
    try:
        return _COMMANDS[options.command](options)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in EXTRA:
            raise
        return _refuse(
            "the dashboard needs more than an agent does: "
            f"pip install 'tierwatch[dashboard]' ({missing} is missing)"
        )


def _serve(options: argparse.Namespace) -> int:
    from tierwatch_dashboard import config, logs

    try:
        settings = config.load(
            config.find(options.config),
            flags={"listen": options.listen, "log_format": options.log_format},
        )
        logs.set_up(settings.log_format)

        from tierwatch_dashboard import serve

        serve.run(settings)
    except config.ConfigError as error:
        return _refuse(str(error))
    return 0


def _demo(options: argparse.Namespace) -> int:
    from tierwatch_dashboard import config, demo

    try:
        config.address(options.listen)
    except ValueError as error:
        return _refuse(f"--listen: {error}")
    return demo.run(options.listen, options.machines)


def _rules(options: argparse.Namespace) -> int:
    from tierwatch_dashboard import config, inventory_file
    from tierwatch_dashboard.alerts.prometheus import rules_file
    from tierwatch_dashboard.inventory import InventoryError

    try:
        inventory = inventory_file.load(config.find(options.config))
    except (config.ConfigError, InventoryError) as error:
        return _refuse(str(error))
    # As bytes: Prometheus reads UTF-8, whatever this terminal speaks.
    sys.stdout.buffer.write(rules_file(inventory).encode())
    sys.stdout.buffer.flush()
    return 0


def _targets(options: argparse.Namespace) -> int:
    from tierwatch_dashboard import config, inventory_file
    from tierwatch_dashboard.inventory import InventoryError
    from tierwatch_dashboard.targets import document

    try:
        inventory = inventory_file.load(config.find(options.config))
    except (config.ConfigError, InventoryError) as error:
        return _refuse(str(error))
    sys.stdout.buffer.write(document(inventory.machines))
    sys.stdout.buffer.flush()
    return 0


def _notify(options: argparse.Namespace) -> int:
    from tierwatch_dashboard import config, inventory_file
    from tierwatch_dashboard.alerts.receivers import why_not
    from tierwatch_dashboard.inventory import InventoryError

    try:
        file = config.find(options.config)
        receivers = inventory_file.load(file).alerts.receivers
    except (config.ConfigError, InventoryError) as error:
        return _refuse(str(error))
    if not receivers:
        return _refuse(f"{file} has no receiver; add one under [[alerts.receiver]]")
    failed = False
    for receiver in receivers:
        why = why_not(receiver)
        failed = failed or why is not None
        print(f"{receiver.name}: {'ok' if why is None else f'failed: {why}'}", flush=True)
    return int(failed)


def _refuse(why: str) -> int:
    print(f"tierwatch: {why}", file=sys.stderr)
    return USAGE_ERROR


_COMMANDS = {
    "serve": _serve,
    "demo": _demo,
    "rules": _rules,
    "targets": _targets,
    "notify": _notify,
}


def _machines(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 200):
        raise argparse.ArgumentTypeError(f"{text} is no number from 1 to 200")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tierwatch",
        description="What each machine of a studio can make right now.",
        epilog="example: tierwatch demo",
    )
    parser.add_argument("--version", action="version", version=f"tierwatch {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="serves the dashboard until it is ended",
        epilog="example: tierwatch serve --config tierwatch.toml --listen 127.0.0.1:8090",
    )
    serve.add_argument("--listen", metavar="HOST:PORT", help="default 127.0.0.1:8090")
    _add_config(serve)
    serve.add_argument("--log-format", metavar="FORMAT", help="text (default) or json")
    demo = commands.add_parser(
        "demo",
        help="a simulated studio on this machine, with its dashboard",
        epilog="example: tierwatch demo --machines 12",
    )
    demo.add_argument("--listen", metavar="HOST:PORT", default="127.0.0.1:8090")
    demo.add_argument("--machines", type=_machines, metavar="N", default=12)
    rules = commands.add_parser(
        "rules",
        help="prints the rules of alerts as a file for Prometheus",
        epilog="example: tierwatch rules --config tierwatch.toml > tierwatch.rules.yml",
    )
    _add_config(rules)
    targets = commands.add_parser(
        "targets",
        help="prints the machines as targets for Prometheus",
        epilog="example: tierwatch targets --config tierwatch.toml > targets.json",
    )
    targets.add_argument(
        "--format",
        choices=("file_sd",),
        default="file_sd",
        help="what reads it: Prometheus' file_sd_configs (default)",
    )
    _add_config(targets)
    notify = commands.add_parser(
        "notify",
        help="tries the way to the receivers of alerts",
        epilog="example: tierwatch notify test --config tierwatch.toml",
    )
    what = notify.add_subparsers(dest="what", required=True, metavar="WHAT")
    test = what.add_parser(
        "test",
        help="sends one message through each receiver; exits 1 if one fails",
        epilog="example: tierwatch notify test --config tierwatch.toml",
    )
    _add_config(test)
    return parser


def _add_config(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="settings and inventory (TOML); default: tierwatch.toml here, then the user's own, "
        "then the machine's",
    )


if __name__ == "__main__":
    sys.exit(main())
