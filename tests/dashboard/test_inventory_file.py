"""The inventory file: what it may say, what a bad edit is told, that the last good one holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tierwatch_agent.tiers import DEFAULT_TIERS, Tier
from tierwatch_dashboard.alerts.settings import AlertSettings
from tierwatch_dashboard.inventory import Inventory, InventoryError, Machine, Policy
from tierwatch_dashboard.inventory_file import InventoryFile, load, parse
from tierwatch_dashboard.inventory_place import FilePlace

EXAMPLE = Path(__file__).parents[2] / "deploy" / "tierwatch.toml"
ONE = '[[machine]]\nid = "render-01"\nurl = "http://render-01:9838"\ntier = "mass"\n'
TWO = ONE + '[[machine]]\nid = "render-02"\nurl = "http://render-02:9838"\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tierwatch.toml"
    path.write_text(ONE, encoding="utf-8")
    return path


def _parse(text: str) -> Inventory:
    return parse(text.encode(), "tierwatch.toml")


def test_the_example_loads_and_its_policy_and_tiers_are_the_defaults() -> None:
    inventory = load(EXAMPLE)
    assert inventory.policy == Policy()
    assert inventory.tiers == DEFAULT_TIERS
    assert [machine.id for machine in inventory.machines] == [
        "render-01",
        "render-02",
        "render-03",
        "artist-07",
    ]


def test_a_file_may_say_everything() -> None:
    inventory = _parse(
        """
        [dashboard]
        listen = "0.0.0.0:8090"
        [policy]
        below_for = "2m"
        clear_for = 5
        stale_after = "1.5s"
        down_after = "1h"
        margin_gb = 1
        [[tier]]
        name = "video"
        vram_gb = 24
        purpose = "video at 720p"
        allowance_gb = 2
        [[machine]]
        id = "render-01"
        url = "https://render-01:9838/"
        tier = "video"
        gpu_tiers = { "1" = "video" }
        gpus = "any"
        tags = ["floor-2", "loud"]
        maintenance = true
        """
    )
    assert inventory == Inventory(
        machines=(
            Machine(
                id="render-01",
                url="https://render-01:9838",
                tier="video",
                gpu_tiers={"1": "video"},
                gpus="any",
                tags=("floor-2", "loud"),
                maintenance=True,
            ),
        ),
        tiers=(Tier(name="video", vram_gb=24, purpose="video at 720p", allowance_gb=2),),
        policy=Policy(
            below_for_seconds=120,
            clear_for_seconds=5,
            stale_after_seconds=1.5,
            down_after_seconds=3600,
            margin_gb=1,
        ),
        alerts=AlertSettings(machine_tags={"render-01": ("floor-2", "loud")}),
    )


def test_an_empty_file_is_an_inventory_without_machines() -> None:
    assert _parse("") == Inventory()
    assert _parse("# nothing yet\n") == Inventory()


def test_a_byte_order_mark_is_no_error() -> None:
    assert len(parse(b"\xef\xbb\xbf" + ONE.encode(), "tierwatch.toml").machines) == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            TWO + '[[machine]]\nid = "render-03"\nurl = "http://render-03:9838"\ntier = "mas"',
            'tierwatch.toml: machine 3 (render-03): tier "mas" is not defined; tiers are draft, '
            "light, production, mass. Did you mean mass?",
        ),
        (
            ONE + 'gpu_tiers = { "1" = "Light" }',
            'tierwatch.toml: machine 1 (render-01): gpu_tiers: "1" = "Light" is not defined; '
            "tiers are draft, light, production, mass. Did you mean light?",
        ),
        (
            TWO + ONE,
            'tierwatch.toml: machine 3 (render-01): id "render-01" is taken by machine 1 '
            "(render-01); give it its own",
        ),
        (
            ONE + '[[machine]]\nid = "render-02"\nurl = "http://render-01:9838/"',
            'tierwatch.toml: machine 2 (render-02): url "http://render-01:9838" is taken by '
            "machine 1 (render-01); give it its own",
        ),
        (
            '[[machine]]\nid = "render-01"',
            "tierwatch.toml: machine 1 (render-01): url is missing; add a line such as "
            'url = "http://render-01:9838"',
        ),
        (
            '[[machine]]\nurl = "http://render-01:9838"',
            'tierwatch.toml: machine 1: id is missing; add a line such as id = "render-01"',
        ),
        (
            '[[machine]]\nid = "render 01"\nurl = "http://render-01:9838"',
            'tierwatch.toml: machine 1 (render 01): id is "render 01"; it may have letters, '
            'digits, ".", "-" and "_", such as id = "render-01"',
        ),
        (
            '[[machine]]\nid = "render-01"\nurl = "render-01:9838"',
            'tierwatch.toml: machine 1 (render-01): url is "render-01:9838", which is no address '
            'of an agent; write it as url = "http://render-01:9838"',
        ),
        (
            '[[machine]]\nid = "render-01"\nurl = "http://render-01:99999"',
            'tierwatch.toml: machine 1 (render-01): url is "http://render-01:99999", which is no '
            'address of an agent; write it as url = "http://render-01:9838"',
        ),
        (
            ONE + 'maintenence = true',
            'tierwatch.toml: machine 1 (render-01): "maintenence" is not known here. Did you mean '
            "maintenance?",
        ),
        (
            ONE + 'maintenance = "yes"',
            "tierwatch.toml: machine 1 (render-01): maintenance must be true or false, without "
            'quotes, such as maintenance = true; it is "yes"',
        ),
        (
            ONE.replace('"mass"', "16"),
            "tierwatch.toml: machine 1 (render-01): tier must be text in quotes, such as "
            'tier = "mass"; it is 16',
        ),
        (
            ONE + 'tags = "floor-2"',
            "tierwatch.toml: machine 1 (render-01): tags must be a list of texts, such as "
            'tags = ["floor-2"]; it is "floor-2"',
        ),
        (
            ONE + 'gpu_tiers = ["mass"]',
            "tierwatch.toml: machine 1 (render-01): gpu_tiers must be a table of texts, such as "
            'gpu_tiers = { "0" = "mass" }; it is a list',
        ),
        (
            ONE + 'gpus = "one"',
            'tierwatch.toml: machine 1 (render-01): gpus is "all" or "any", not "one"',
        ),
        (
            "[policy]\nmargin_gb = -1",
            "tierwatch.toml: policy: margin_gb is -1; it must be 0 or more, such as "
            "margin_gb = 0.5",
        ),
        (
            "[policy]\nmargin_gb = nan",
            "tierwatch.toml: policy: margin_gb is nan; it must be 0 or more, such as "
            "margin_gb = 0.5",
        ),
        (
            '[policy]\nbelow_for = "60 sec"',
            'tierwatch.toml: policy: below_for is "60 sec", which is no length of time; write it '
            'as "90s", "5m" or "1h"',
        ),
        (
            "[policy]\nbelow_for = true",
            "tierwatch.toml: policy: below_for must be a length of time, such as "
            'below_for = "60s"; it is true',
        ),
        (
            '[policy]\nstale_after = "30s"',
            "tierwatch.toml: policy: stale_after is 30 s and down_after 20 s; stale_after must be "
            "more than 0 and no longer than down_after",
        ),
        (
            "[polcy]",
            'tierwatch.toml: "polcy" is not known here. Did you mean policy?',
        ),
        (
            '[machine]\nid = "render-01"',
            "tierwatch.toml: machine is a list of tables: write each as [[machine]], in two "
            "brackets",
        ),
        (
            "[[policy]]\nmargin_gb = 1",
            "tierwatch.toml: policy is a table: write it as [policy] on a line of its own",
        ),
        (
            '[[tier]]\nname = "video"',
            "tierwatch.toml: tier 1 (video): vram_gb is missing; add the class of card, such as "
            "vram_gb = 16",
        ),
        (
            '[[tier]]\nname = "a"\nvram_gb = 1\n[[tier]]\nname = "a"\nvram_gb = 2',
            "tierwatch.toml: tier 2 (a): name: there is a tier of this name already; give it "
            "another",
        ),
        (
            '[[tier]]\nname = "video"\nvram_gb = "24"',
            "tierwatch.toml: tier 1 (video): vram_gb must be a number, without quotes, such as "
            'vram_gb = 16; it is "24"',
        ),
    ],
)  # fmt: skip
def test_a_bad_edit_is_told_with_file_key_and_mend(text: str, sentence: str) -> None:
    with pytest.raises(InventoryError) as told:
        _parse(text)
    assert str(told.value) == sentence


def test_what_is_no_toml_is_told_with_its_line() -> None:
    with pytest.raises(InventoryError) as told:
        _parse('[[machine]]\nid = "render-01"\ntier = mass\n')
    assert str(told.value).startswith("tierwatch.toml: line 3 is not TOML (")
    assert "'tier = mass'. Text stands in quotes" in str(told.value)


def test_what_is_no_utf_8_is_told_with_its_line() -> None:
    with pytest.raises(InventoryError, match="line 2 is not UTF-8; save the file as UTF-8"):
        parse("[policy]\n# é".encode("latin-1"), "tierwatch.toml")


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match=r"none\.toml: there is no such file; deploy/"):
        load(tmp_path / "none.toml")
    with pytest.raises(InventoryError, match="this is a folder"):
        load(tmp_path)


def test_the_first_load_raises(path: Path) -> None:
    path.write_text("[polcy]", encoding="utf-8")
    with pytest.raises(InventoryError, match="Did you mean policy"):
        InventoryFile(FilePlace(path))


def test_an_edit_takes_force(path: Path) -> None:
    times = iter((100.0, 200.0))
    file = InventoryFile(FilePlace(path), now=lambda: next(times))
    assert file.loaded_at == 100.0
    assert not file.refresh()
    path.write_text(TWO, encoding="utf-8")
    assert file.refresh()
    assert [machine.id for machine in file.current.machines] == ["render-01", "render-02"]
    assert file.loaded_at == 200.0
    assert not file.refresh()


def test_a_change_of_comments_alone_changes_nothing(path: Path) -> None:
    file = InventoryFile(FilePlace(path))
    before = file.current
    path.write_text(f"# mine\n{ONE}", encoding="utf-8")
    assert not file.refresh()
    assert file.current is before


def test_a_bad_edit_leaves_the_last_good_one_in_force_until_it_is_mended(path: Path) -> None:
    file = InventoryFile(FilePlace(path))
    before = file.current
    path.write_text(ONE.replace("mass", "mas"), encoding="utf-8")
    for _ in range(2):
        assert not file.refresh()
        assert file.current is before
        assert file.error is not None
        assert file.error.startswith('tierwatch.toml: machine 1 (render-01): tier "mas" is not')
    path.write_text(ONE, encoding="utf-8")
    assert not file.refresh()
    assert file.error is None


def test_a_file_that_goes_missing_leaves_the_last_good_one_in_force(path: Path) -> None:
    file = InventoryFile(FilePlace(path))
    path.unlink()
    assert not file.refresh()
    assert "there is no such file" in str(file.error)
    assert len(file.current.machines) == 1
    path.write_text(ONE, encoding="utf-8")
    assert not file.refresh()
    assert file.error is None


def test_a_file_is_not_taken_while_an_editor_is_at_it(path: Path) -> None:
    rest = [TWO[:100], TWO]

    def write_on(_: float) -> None:
        if rest:
            path.write_text(rest.pop(0), encoding="utf-8")

    file = InventoryFile(FilePlace(path, sleep=write_on))
    path.write_text("", encoding="utf-8")
    assert file.refresh()
    assert len(file.current.machines) == 2
    assert file.error is None


def test_a_file_that_is_replaced_by_another_is_read(path: Path) -> None:
    draft = path.with_suffix(".new")
    draft.write_text(TWO, encoding="utf-8")

    def replace(_: float) -> None:
        if draft.exists():
            draft.replace(path)

    file = InventoryFile(FilePlace(path, sleep=replace))
    path.unlink()
    assert file.refresh()
    assert file.error is None
