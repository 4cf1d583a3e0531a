from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tierwatch_agent.attribution import attribute
from tierwatch_agent.gpus import SourceAbsent
from tierwatch_agent.gpus.amdgpu import AmdgpuSource
from tierwatch_agent.gpus.amdgpu_processes import SCAN_SECONDS
from tierwatch_agent.snapshot import GpuMemory, GpuSample, HostSample

DATA = Path(__file__).parent / "data"
MIB = 2**20
GIB = 2**30

OF_LINUX_6_8 = """\
pos: 0
flags: 02100002
drm-driver: amdgpu
drm-client-id: {client}
drm-pdev: {card}
pasid: 32771
drm-memory-vram: {vram} KiB
drm-memory-gtt: {gtt} KiB
drm-memory-cpu: 0 KiB
drm-engine-gfx: 987654321 ns
"""
OF_LINUX_5_15 = """\
pos: 0
flags: 02100002
pdev: {card}
pasid: {client}
vram mem: {vram} kB
gtt mem: {gtt} kB
cpu mem: 0 kB
"""


class Machine:
    """A machine laid out in a folder, with a source that looks at it."""

    def __init__(self, root: Path, device: str) -> None:
        self.root = root
        self.now = 1000.0
        for line in (DATA / f"{device}.txt").read_text().splitlines():
            if not line.startswith("#"):
                path, _, text = line.partition(": ")
                self.write(path, text.replace(r"\n", "\n") + "\n")
        self.names = root / "amdgpu.ids"
        self.names.write_text(
            "# List of AMDGPU IDs\n"
            "1.0.0\n"
            "67DF,\tE7,\tRadeon RX 580 Series\n"
            "744C,\tC8,\tAMD Radeon RX 7900 XTX\n"
            "744C,\tCC,\tAMD Radeon RX 7900 XT\n"
        )
        self.source = AmdgpuSource(
            str(root / "sys"), str(root / "proc"), [str(self.names)], monotonic=lambda: self.now
        )

    @property
    def card(self) -> Path:
        """The files of the only AMD card."""
        for device in sorted(self.root.glob("sys/class/drm/card*/device")):
            if (device / "vendor").read_text() == "0x1002\n":
                return device
        raise AssertionError("no AMD card")

    @property
    def hwmon(self) -> Path:
        return next((self.card / "hwmon").iterdir())

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def breaks(self, file: Path) -> None:
        """Lets a file that can be opened answer EIO, as a driver in trouble does."""
        file.unlink()
        file.symlink_to("/proc/self/mem")

    def opens(
        self,
        pid: int,
        client: int,
        vram_mib: int,
        gtt_mib: int = 0,
        form: str = OF_LINUX_6_8,
        card: str = "0000:03:00.0",
        descriptor: int = 5,
        comm: str = "python",
    ) -> None:
        """Lets a process open a card."""
        self.write(f"proc/{pid}/comm", comm + "\n")
        link = self.root / f"proc/{pid}/fd/{descriptor}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to("/dev/dri/renderD128")
        text = form.format(client=client, card=card, vram=vram_mib * 1024, gtt=gtt_mib * 1024)
        self.write(f"proc/{pid}/fdinfo/{descriptor}", text)

    def ends(self, pid: int) -> None:
        shutil.rmtree(self.root / f"proc/{pid}")

    def read(self) -> GpuSample:
        (gpu,) = self.source.read()
        return gpu

    def opened(self) -> Machine:
        self.source.open()
        return self

    def held(self) -> dict[int, int | None]:
        """Memory of the only card by process."""
        return {process.pid: process.vram_bytes for process in self.read().processes or ()}


@pytest.fixture
def rx_7900_xtx(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "rx-7900-xtx_6.8").opened()


@pytest.fixture
def rx_580(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "rx-580_5.15").opened()


@pytest.fixture
def ryzen_780m(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "ryzen-780m_6.8").opened()


@pytest.fixture
def mi210(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "mi210_6.8").opened()


def test_a_desktops_card_is_read_whole(rx_7900_xtx: Machine) -> None:
    assert rx_7900_xtx.read() == GpuSample(
        index="0",
        uuid="6a1f7c5d2b90e311",
        name="AMD Radeon RX 7900 XTX",
        vendor="amd",
        source="amdgpu",
        driver_version="6.7.8",
        pci_bus_id="0000:03:00.0",
        memory=GpuMemory(total_bytes=25753026560, free_bytes=12868124672, used_bytes=12884901888),
        processes=(),
        utilization_ratio=0.97,
        memory_busy_ratio=0.41,
        temperature_celsius=63.0,
        memory_temperature_celsius=84.0,
        slowdown_celsius=100.0,
        power_watts=312.0,
        power_limit_watts=339.0,
        graphics_clock_hertz=2_482_000_000.0,
        memory_clock_hertz=1_249_000_000.0,
        fan_ratio=0.5,
    )


def test_an_idle_card_at_rest_is_read_as_zeros_and_not_as_unknown(rx_580: Machine) -> None:
    gpu = rx_580.read()
    assert gpu.utilization_ratio == 0.0
    assert gpu.fan_ratio == 0.0
    assert gpu.memory_busy_ratio is None
    assert gpu.memory_temperature_celsius is None


def test_without_an_id_of_its_own_a_card_is_known_by_its_address(rx_580: Machine) -> None:
    gpu = rx_580.read()
    assert (gpu.index, gpu.uuid, gpu.name) == ("0", "0000:01:00.0", "Radeon RX 580 Series")
    assert gpu.driver_version == "5.15.0-113-generic"


def test_a_servers_card_is_named_by_its_board_and_judged_by_its_junction(mi210: Machine) -> None:
    gpu = mi210.read()
    assert gpu.name == "Instinct MI210"
    assert (gpu.temperature_celsius, gpu.slowdown_celsius) == (38.0, 105.0)
    assert gpu.memory is not None
    assert not gpu.memory.unified
    assert gpu.memory.total_bytes == 68702699520
    assert gpu.fan_ratio is None


def test_a_card_that_no_list_names_is_known_by_its_number(rx_7900_xtx: Machine) -> None:
    rx_7900_xtx.names.unlink()
    rx_7900_xtx.source.close()
    assert rx_7900_xtx.opened().read().name == "AMD GPU 0x744c"


def test_an_apu_shares_the_systems_memory(ryzen_780m: Machine) -> None:
    gpu = ryzen_780m.read()
    assert gpu.memory == GpuMemory(
        total_bytes=536870912 + 16492789760,
        used_bytes=429916160 + 3221225472,
        free_bytes=536870912 + 16492789760 - 429916160 - 3221225472,
        unified=True,
    )
    assert gpu.power_watts == 9.106
    host = HostSample(cpu_count=16, memory_total_bytes=31 * GIB, memory_available_bytes=6 * GIB)
    attribution = attribute(gpu, host)
    assert attribution is not None
    assert attribution.available_bytes == 6 * GIB


def test_an_apu_with_most_of_its_memory_carved_out_uses_it_as_a_card_does(
    ryzen_780m: Machine,
) -> None:
    (ryzen_780m.card / "mem_info_vram_total").write_text(f"{64 * GIB}\n")
    memory = ryzen_780m.read().memory
    assert memory is not None
    assert (memory.total_bytes, memory.unified) == (64 * GIB, False)


def test_the_memory_of_an_apus_processes_is_both_kinds(ryzen_780m: Machine) -> None:
    ryzen_780m.opens(700, client=1, vram_mib=100, gtt_mib=3000, card="0000:c1:00.0")
    assert ryzen_780m.held() == {700: 3100 * MIB}


def test_a_sleeping_card_is_left_asleep_and_its_memory_still_known(rx_7900_xtx: Machine) -> None:
    (rx_7900_xtx.card / "power/runtime_status").write_text("suspended\n")
    for sensor in ("gpu_busy_percent", "hwmon/hwmon4/temp1_input", "hwmon/hwmon4/power1_average"):
        # Whoever reads one of these wakes the card: here it would fail.
        rx_7900_xtx.breaks(rx_7900_xtx.card / sensor)
    gpu = rx_7900_xtx.read()
    assert gpu.state == "asleep"
    assert gpu.detail is not None
    assert gpu.memory is not None
    assert gpu.temperature_celsius is None


def test_a_file_that_is_missing_costs_its_own_figure(rx_7900_xtx: Machine) -> None:
    for name in ("temp3_input", "power1_cap", "fan1_max", "freq2_input", "temp1_crit"):
        (rx_7900_xtx.hwmon / name).unlink()
    gpu = rx_7900_xtx.read()
    assert gpu.state == "ok"
    assert gpu.memory_temperature_celsius is None
    assert gpu.power_limit_watts is None
    assert gpu.fan_ratio is None
    assert gpu.memory_clock_hertz is None
    assert gpu.slowdown_celsius is None
    assert (gpu.temperature_celsius, gpu.power_watts) == (63.0, 312.0)


def test_a_sensor_that_fails_alone_costs_its_own_figure(rx_7900_xtx: Machine) -> None:
    rx_7900_xtx.breaks(rx_7900_xtx.card / "gpu_busy_percent")
    gpu = rx_7900_xtx.read()
    assert (gpu.state, gpu.utilization_ratio, gpu.temperature_celsius) == ("ok", None, 63.0)


def test_a_number_that_is_none_is_unknown(rx_7900_xtx: Machine) -> None:
    (rx_7900_xtx.card / "gpu_busy_percent").write_text("N/A\n")
    assert rx_7900_xtx.read().utilization_ratio is None


def test_a_card_whose_sensors_all_fail_is_unreadable(rx_7900_xtx: Machine) -> None:
    for sensor in ("gpu_busy_percent", "hwmon/hwmon4/temp1_input", "hwmon/hwmon4/power1_average"):
        rx_7900_xtx.breaks(rx_7900_xtx.card / sensor)
    gpu = rx_7900_xtx.read()
    assert gpu.state == "unreadable"
    assert gpu.detail is not None
    assert "Input/output error" in gpu.detail
    assert gpu.memory is None


def test_a_card_whose_memory_cannot_be_read_is_unreadable(rx_7900_xtx: Machine) -> None:
    rx_7900_xtx.breaks(rx_7900_xtx.card / "mem_info_vram_used")
    gpu = rx_7900_xtx.read()
    assert (gpu.state, gpu.memory) == ("unreadable", None)
    assert gpu.uuid == "6a1f7c5d2b90e311"


def test_a_card_that_vanishes_is_lost_and_found_again(rx_7900_xtx: Machine) -> None:
    here, away = rx_7900_xtx.root / "sys/class/drm/card0", rx_7900_xtx.root / "away"
    here.rename(away)
    gpu = rx_7900_xtx.read()
    assert (gpu.state, gpu.uuid) == ("lost", "6a1f7c5d2b90e311")
    # Linux may give it another number.
    away.rename(here.with_name("card2"))
    gpu = rx_7900_xtx.read()
    assert (gpu.index, gpu.state, gpu.temperature_celsius) == ("0", "ok", 63.0)


def test_a_card_that_is_plugged_in_later_is_seen(rx_7900_xtx: Machine, tmp_path: Path) -> None:
    rx_7900_xtx.read()
    drm = rx_7900_xtx.root / "sys/class/drm"
    shutil.copytree(drm / "card0", drm / "card7")
    (drm / "card7/device/uevent").write_text("DRIVER=amdgpu\nPCI_SLOT_NAME=0000:0a:00.0\n")
    (drm / "card7/device/unique_id").unlink()
    first, second = rx_7900_xtx.source.read()
    assert (first.index, second.index, second.uuid) == ("0", "1", "0000:0a:00.0")


@pytest.mark.parametrize("driver", ["radeon", "vfio-pci"])
def test_a_card_of_another_driver_is_not_ours(rx_7900_xtx: Machine, driver: str) -> None:
    uevent = rx_7900_xtx.card / "uevent"
    uevent.write_text(uevent.read_text().replace("DRIVER=amdgpu", f"DRIVER={driver}"))
    rx_7900_xtx.source.close()
    with pytest.raises(SourceAbsent):
        rx_7900_xtx.source.open()


def test_a_machine_without_an_amd_card_has_no_such_source(tmp_path: Path) -> None:
    with pytest.raises(SourceAbsent, match="no AMD GPU"):
        AmdgpuSource(tmp_path / "sys", tmp_path / "proc").open()


def test_who_holds_memory_is_read_from_their_open_files(rx_7900_xtx: Machine) -> None:
    rx_7900_xtx.opens(700, client=41, vram_mib=9000, gtt_mib=200)
    rx_7900_xtx.opens(800, client=42, vram_mib=512)
    assert rx_7900_xtx.held() == {700: 9000 * MIB, 800: 512 * MIB}


def test_older_linux_names_the_figures_otherwise(rx_580: Machine) -> None:
    rx_580.opens(700, 32770, vram_mib=300, form=OF_LINUX_5_15, card="0000:01:00.0")
    assert rx_580.held() == {700: 300 * MIB}


def test_one_client_counts_once_however_often_it_is_open(rx_7900_xtx: Machine) -> None:
    rx_7900_xtx.opens(700, client=41, vram_mib=9000, descriptor=5)
    rx_7900_xtx.opens(700, client=41, vram_mib=9000, descriptor=6)
    rx_7900_xtx.opens(701, client=41, vram_mib=9000)
    rx_7900_xtx.opens(700, client=43, vram_mib=1000, descriptor=7)
    assert rx_7900_xtx.held() == {700: 10000 * MIB}


def test_who_opens_a_card_for_others_holds_nothing(rx_7900_xtx: Machine) -> None:
    rx_7900_xtx.opens(400, client=41, vram_mib=700, comm="systemd-logind")
    rx_7900_xtx.opens(900, client=41, vram_mib=700, comm="gnome-shell")
    assert rx_7900_xtx.held() == {900: 700 * MIB}


def test_another_vendors_client_is_not_counted(rx_7900_xtx: Machine) -> None:
    form = OF_LINUX_6_8.replace("drm-driver: amdgpu", "drm-driver: i915")
    rx_7900_xtx.opens(700, client=41, vram_mib=500, form=form)
    assert rx_7900_xtx.held() == {}


def test_a_process_that_ends_is_gone_at_once_and_a_new_one_seen_at_the_next_scan(
    rx_7900_xtx: Machine,
) -> None:
    rx_7900_xtx.opens(700, client=41, vram_mib=9000)
    assert rx_7900_xtx.held() == {700: 9000 * MIB}
    rx_7900_xtx.ends(700)
    rx_7900_xtx.opens(800, client=42, vram_mib=512)
    assert rx_7900_xtx.held() == {}
    rx_7900_xtx.now += SCAN_SECONDS
    assert rx_7900_xtx.held() == {800: 512 * MIB}


def test_what_rocm_allocates_is_known_of_other_users_processes_too(rx_7900_xtx: Machine) -> None:
    rx_7900_xtx.write("sys/class/kfd/kfd/proc/4711/vram_31337", f"{6 * GIB}\n")
    assert rx_7900_xtx.held() == {4711: 6 * GIB}


def test_what_both_ways_tell_of_one_process_is_counted_once(rx_7900_xtx: Machine) -> None:
    rx_7900_xtx.write("sys/class/kfd/kfd/proc/700/vram_31337", f"{6 * GIB}\n")
    rx_7900_xtx.opens(700, client=41, vram_mib=6200)
    assert rx_7900_xtx.held() == {700: 6200 * MIB}
