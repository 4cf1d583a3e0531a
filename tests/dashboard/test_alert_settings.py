"""The ``[alerts]`` table: what it may say, and what a wrong one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tierwatch_dashboard.alerts.settings import AlertSettings, Receiver, Route, RuleSettings
from tierwatch_dashboard.inventory import InventoryError
from tierwatch_dashboard.inventory_file import InventoryFile, load, parse
from tierwatch_dashboard.inventory_place import FilePlace

MACHINE = """
[[machine]]
id = "render-01"
url = "http://render-01:9838"
tier = "mass"
tags = ["floor-2"]
"""
STUDIO = """
[[alerts.receiver]]
name = "studio"
url = "json://127.0.0.1:9099/hook"
"""


def settings(text: str) -> AlertSettings:
    return parse((MACHINE + text).encode(), "tierwatch.toml").alerts


def refused(text: str) -> str:
    with pytest.raises(InventoryError) as refusal:
        settings(text)
    return str(refusal.value)


def test_without_the_table_the_defaults_hold_and_nobody_is_told() -> None:
    assert settings("") == AlertSettings(machine_tags={"render-01": ("floor-2",)})


def test_the_table_may_say_everything() -> None:
    told = settings(
        """
        [alerts]
        language = "ja"
        group_wait = "5s"
        repeat = "1h"
        alertmanager = "http://127.0.0.1:9093/"
        [[alerts.receiver]]
        name = "studio"
        url = "json://127.0.0.1:9099/hook"
        [[alerts.receiver]]
        name = "night"
        url = "ntfy://127.0.0.1/night"
        resolved = false
        [[alerts.route]]
        receivers = ["studio"]
        [[alerts.route]]
        receivers = ["studio", "night"]
        severities = ["critical", "info"]
        tiers = ["mass"]
        tags = ["floor-2"]
        rules = ["MachineDown"]
        [alerts.rule.MachineAtRisk]
        enabled = false
        [alerts.rule.GenerationJobOutOfMemory]
        for = "1m"
        severity = "critical"
        threshold = 5
        window = "30m"
        [alerts.rule.GenerationJobOutOfMemory.tier.light]
        enabled = false
        """
    )
    assert told == AlertSettings(
        group_wait_seconds=5,
        repeat_seconds=3600,
        alertmanager="http://127.0.0.1:9093",
        receivers=(
            Receiver(name="studio", url="json://127.0.0.1:9099/hook", language="ja"),
            Receiver(name="night", url="ntfy://127.0.0.1/night", resolved=False, language="ja"),
        ),
        routes=(
            Route(receivers=("studio",)),
            Route(
                receivers=("studio", "night"),
                severities=("critical", "info"),
                tiers=("mass",),
                tags=("floor-2",),
                rules=("MachineDown",),
            ),
        ),
        rules={
            "MachineAtRisk": RuleSettings(enabled=False),
            "GenerationJobOutOfMemory": RuleSettings(
                for_seconds=60,
                severity="critical",
                threshold=5,
                window_seconds=1800,
                tiers={"light": RuleSettings(enabled=False)},
            ),
        },
        machine_tags={"render-01": ("floor-2",)},
    )


def test_without_a_route_every_receiver_hears_what_is_worse_than_info() -> None:
    told = settings(STUDIO)
    labels = {"machine": "render-01"}
    assert [r.name for r in told.receivers_of("MachineDown", "critical", labels)] == ["studio"]
    assert told.receivers_of("MachineAtRisk", "info", labels) == ()


@pytest.mark.parametrize(
    ("condition", "hears"),
    [
        ("", True),
        ('tiers = ["mass"]', True),
        ('tiers = ["light"]', False),
        ('tags = ["floor-2"]', True),
        ('severities = ["critical"]', False),
        ('rules = ["MachineDown"]', False),
        ('rules = ["MachineBelowTier"]\ntiers = ["mass", "light"]', True),
    ],
)
def test_a_route_lets_through_what_fits_all_its_conditions(condition: str, hears: bool) -> None:
    told = settings(f'{STUDIO}[[alerts.route]]\nreceivers = ["studio"]\n{condition}')
    labels = {"machine": "render-01", "tier": "mass", "gpu": "0"}
    assert bool(told.receivers_of("MachineBelowTier", "warning", labels)) == hears
    if "tags" in condition:
        elsewhere = {**labels, "machine": "render-02"}
        assert told.receivers_of("MachineBelowTier", "warning", elsewhere) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[alerts]\nrepeet = 1", 'alerts: "repeet" is not known here. Did you mean repeat?'),
        ("[alerts]\nrepeat = 5", "alerts: repeat is 5 s; it must be 1m or more, or 0 for never"),
        ('[alerts]\ngroup_wait = "1h"', "group_wait is 3600 s; it must be no longer than 5m"),
        ('[alerts]\nalertmanager = "here"', "alertmanager is no address; write it as"),
        ('[[alerts.receiver]]\nurl = "json://a"', "receiver 1: name is missing; add a line"),
        (STUDIO + STUDIO, "receiver 2 (studio): name: there is a receiver of this name already"),
        (
            '[[alerts.receiver]]\nname = "a"\nurl = "slak://hunter2/secret"',
            "alerts: receiver 1 (a): its url, slak://…, is none that Apprise knows",
        ),
        (
            STUDIO + '[[alerts.route]]\nreceivers = ["studeo"]',
            'receivers: there is no receiver "studeo"; there are studio. Did you mean studio?',
        ),
        (STUDIO + "[[alerts.route]]", 'receivers is missing; add a line such as receivers = ["'),
        (
            STUDIO + '[[alerts.route]]\nreceivers = ["studio"]\ntiers = ["huge"]',
            'tiers: there is no tier "huge"; there are draft, light, mass, production',
        ),
        (
            STUDIO + '[[alerts.route]]\nreceivers = ["studio"]\ntags = ["flor-2"]',
            'there is no tag of a machine "flor-2"; there are floor-2. Did you mean floor-2?',
        ),
        (
            STUDIO + '[[alerts.route]]\nreceivers = ["studio"]\nseverities = ["bad"]',
            'there is no severity "bad"; there are critical, info, warning',
        ),
        ("[alerts.rule.MachineDwn]", '"MachineDwn" is not known here. Did you mean MachineDown?'),
        (
            '[alerts.rule.MachineDown]\nseverity = "page"',
            'alerts: rule: MachineDown: severity is "critical" or "warning" or "info", not "page"',
        ),
        ("[alerts.rule.MachineDown]\nthreshold = 2", '"threshold" is not known here'),
        ('[alerts.rule.MachineDown]\nfor = "soon"', 'for is "soon", which is no length of time'),
        (
            '[alerts.rule.NoThroughput]\nwindow = "2h"',
            "window is 7200 s; it must be from 1m to 1h",
        ),
        (
            "[alerts.rule.MachineDown.tier.huge]\nenabled = false",
            'there is no tier "huge"; there are draft, light, mass, production',
        ),
        ('[alerts.rule.MachineDown]\nenabled = "no"', "enabled must be true or false"),
        ('[alerts]\nlanguage = "de"', 'language is "en" or "ja", not "de"'),
    ],
)
def test_a_wrong_table_says_where_and_how_to_mend_it(text: str, said: str) -> None:
    told = refused(text)
    assert told.startswith("tierwatch.toml: alerts")
    assert said in told
    assert "hunter2" not in told


def test_a_receiver_s_secret_is_in_no_error_and_no_representation() -> None:
    broken = '[[alerts.receiver]]\nname = "a"\nurl = "slack://hunter2/secret\n'
    assert "hunter2" not in refused(broken)
    receiver = Receiver(name="a", url="slack://hunter2/secret")
    assert "hunter2" not in repr(AlertSettings(receivers=(receiver,)))
    assert "slack" in repr(receiver)


def test_an_edit_that_is_refused_leaves_the_last_good_receivers_in_force(tmp_path: Path) -> None:
    path = tmp_path / "tierwatch.toml"
    path.write_text(MACHINE + STUDIO, encoding="utf-8")
    file = InventoryFile(FilePlace(path, sleep=lambda _seconds: None))
    path.write_text(MACHINE + STUDIO.replace("json://", "jsun://"), encoding="utf-8")
    assert not file.refresh()
    assert file.error is not None
    assert "jsun://…" in file.error
    assert [receiver.name for receiver in file.current.alerts.receivers] == ["studio"]


def test_the_example_changes_no_rule() -> None:
    example = load(Path(__file__).parents[2] / "deploy" / "tierwatch.toml")
    assert example.alerts.group_wait_seconds == AlertSettings().group_wait_seconds
    assert example.alerts.repeat_seconds == AlertSettings().repeat_seconds
