"""A studio whose inventory is a real file, judged by a real fleet, with a real log of changes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from flask.testing import FlaskClient
from sqlalchemy import Engine

from tests.dashboard.doubles import Clock, History, Jobs, LastHour
from tests.dashboard.studio import NOW, machines
from tierwatch_dashboard.app import Services, create_app
from tierwatch_dashboard.audit import AuditLog
from tierwatch_dashboard.database import open_database
from tierwatch_dashboard.fleet import Reading
from tierwatch_dashboard.fleet.state import FleetState, MachineView
from tierwatch_dashboard.inventory import Inventory, Machine
from tierwatch_dashboard.inventory_change import Change
from tierwatch_dashboard.inventory_file import InventoryFile
from tierwatch_dashboard.inventory_place import FilePlace

HERE = {"Sec-Fetch-Site": "same-origin"}
"""What a browser sends with a form of the dashboard's own page."""


class EditedStudio:
    """The pages over one file; ``close`` lets go of the database."""

    def __init__(self, folder: Path, views: Sequence[MachineView] | None = None) -> None:
        self.path = folder / "tierwatch.toml"
        known = machines() if views is None else views
        tables = "\n".join(table(view.machine) for view in known)
        self.path.write_text(f"# The studio.\n{tables}", encoding="utf-8")
        self.now = Clock()
        self.file = InventoryFile(FilePlace(self.path), now=self.now)
        self.engine: Engine = open_database(f"sqlite:///{folder / 'tierwatch.db'}")
        self.audit = AuditLog(self.engine, self.now)
        self.fleet = FleetState(self.file, self.now)
        for view in known:
            self.fleet.receive(
                Reading(machine=view.machine.id, at=NOW, snapshot=view.snapshot, error=None)
            )
        self.file.listen(self._follow)
        self.services = Services(
            state=self.fleet,
            history=History(),
            jobs=Jobs(),
            last_hour=LastHour(),
            inventory_file=self.file,
            now=self.now,
            editor=self.file,
            audit=self.audit,
        )
        self.app = create_app(self.services)

    def client(self) -> FlaskClient:
        return self.app.test_client()

    def machine(self, id_: str) -> Machine:
        return next(machine for machine in self.file.current.machines if machine.id == id_)

    def close(self) -> None:
        self.engine.dispose()

    def _follow(self, inventory: Inventory, by: str | None, change: Change | None) -> None:
        self.audit.take(inventory, by, change)
        self.fleet.judge(self.now())


def table(machine: Machine) -> str:
    """A machine as it is written in the file."""
    lines = [f'id = "{machine.id}"', f'url = "{machine.url}"']
    lines += [f'tier = "{machine.tier}"'] if machine.tier else []
    if machine.gpu_tiers:
        own = ", ".join(f'"{gpu}" = "{tier}"' for gpu, tier in machine.gpu_tiers.items())
        lines.append(f"gpu_tiers = {{ {own} }}")
    lines += [f'gpus = "{machine.gpus}"'] if machine.gpus != "all" else []
    lines += [f"tags = {json.dumps(list(machine.tags))}"] if machine.tags else []
    lines += ["maintenance = true"] if machine.maintenance else []
    return "\n".join(["[[machine]]", *lines, ""])
