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
    from tierwatch_dashboard import config, inventory_stored
    from tierwatch_dashboard.alerts.prometheus import rules_file

    try:
        inventory = inventory_stored.load(config.load(config.find(options.config), flags={}))
    except config.ConfigError as error:
        return _refuse(str(error))
    # As bytes: Prometheus reads UTF-8, whatever this terminal speaks.
    sys.stdout.buffer.write(rules_file(inventory).encode())
    sys.stdout.buffer.flush()
    return 0


def _targets(options: argparse.Namespace) -> int:
    from tierwatch_dashboard import config, inventory_stored
    from tierwatch_dashboard.targets import document

    try:
        inventory = inventory_stored.load(config.load(config.find(options.config), flags={}))
    except config.ConfigError as error:
        return _refuse(str(error))
    sys.stdout.buffer.write(document(inventory.machines))
    sys.stdout.buffer.flush()
    return 0


def _can(options: argparse.Namespace) -> int:
    import json

    from tierwatch_dashboard import can

    url = options.url or can.DEFAULT_URL
    if options.url is None and options.config is not None:
        from tierwatch_dashboard import config

        try:
            url = f"http://{config.load(options.config, flags={}).listen}"
        except config.ConfigError as error:
            return _refuse(str(error))
    try:
        answer = can.ask(url, options.model, options.size, options.batch)
    except can.CannotTell as error:
        return _refuse(str(error))
    print(json.dumps(answer, ensure_ascii=False) if options.json else "\n".join(can.table(answer)))
    return 0


def _notify(options: argparse.Namespace) -> int:
    from tierwatch_dashboard import config, inventory_stored
    from tierwatch_dashboard.alerts.receivers import why_not

    try:
        settings = config.load(config.find(options.config), flags={})
        receivers = inventory_stored.load(settings).alerts.receivers
    except config.ConfigError as error:
        return _refuse(str(error))
    if not receivers:
        place = "the inventory" if settings.inventory == "database" else settings.file
        return _refuse(f"{place} has no receiver; add one under [[alerts.receiver]]")
    failed = False
    for receiver in receivers:
        why = why_not(receiver)
        failed = failed or why is not None
        print(f"{receiver.name}: {'ok' if why is None else f'failed: {why}'}", flush=True)
    return int(failed)


def _inventory(options: argparse.Namespace) -> int:
    from tierwatch_dashboard import config, inventory_stored

    try:
        settings = config.load(config.find(options.config), flags={})
        if options.what == "show":
            # As bytes: it is UTF-8, whatever this terminal speaks.
            sys.stdout.buffer.write(inventory_stored.shown(settings))
            sys.stdout.buffer.flush()
        else:
            machines = inventory_stored.put(settings, options.file).machines
            print(f"in force within seconds; machines: {len(machines)}")
    except config.ConfigError as error:
        return _refuse(str(error))
    return 0


def _refuse(why: str) -> int:
    print(f"tierwatch: {why}", file=sys.stderr)
    return USAGE_ERROR


_COMMANDS = {
    "serve": _serve,
    "demo": _demo,
    "rules": _rules,
    "targets": _targets,
    "notify": _notify,
    "inventory": _inventory,
    "can": _can,
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
    inventory = commands.add_parser(
        "inventory",
        help="prints or replaces the inventory that is in the database",
        epilog="example: tierwatch inventory show > studio.toml",
    )
    what = inventory.add_subparsers(dest="what", required=True, metavar="WHAT")
    show = what.add_parser(
        "show",
        help="prints it",
        epilog="example: tierwatch inventory show --config tierwatch.toml > studio.toml",
    )
    _add_config(show)
    put = what.add_parser(
        "put",
        help="checks a file and puts it in the place of what is there",
        epilog="example: tierwatch inventory put studio.toml --config tierwatch.toml",
    )
    put.add_argument(
        "file", type=Path, metavar="FILE", help="the inventory (TOML); [dashboard] is left out"
    )
    _add_config(put)
    can = commands.add_parser(
        "can",
        help="says which machine can run a model at a size: now, when emptied, or never",
        epilog="example: tierwatch can --size 1344x768 --batch 4 sdxl_base_1.0",
    )
    can.add_argument("model", metavar="MODEL", help="the name of a model that was used here")
    can.add_argument("--size", metavar="WxH", required=True, help="in pixels: 1344x768")
    can.add_argument("--batch", type=int, metavar="N", default=1, help="images at once (1)")
    can.add_argument(
        "--url", metavar="URL", help="the running dashboard (default http://127.0.0.1:8090)"
    )
    can.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="the dashboard's settings: its address is taken from there, without --url",
    )
    can.add_argument("--json", action="store_true", help="prints the API's answer as it is")
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
