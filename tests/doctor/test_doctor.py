"""The doctor on machines made of files."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import pytest

from tests.pci.fake_host import NIC, OTHER, FakeHost
from vfiodpa.doctor.check import Check, Level, Report
from vfiodpa.doctor.examine import examine
from vfiodpa.doctor.function import check_ranges
from vfiodpa.doctor.kernel import check_backends, check_driver, check_iommu, check_remapping
from vfiodpa.doctor.limits import check_hugepages, check_kvm, check_memlock
from vfiodpa.doctor.nodes import check_nodes
from vfiodpa.doctor.probe import KernelProber, Opened
from vfiodpa.doctor.software import software_checks
from vfiodpa.errors import ExitCode, LimitError, Unsupported, UsageError, VfiodpaError
from vfiodpa.pci.function import IovaRange

WIDE = (IovaRange(0, 0xFEDF_FFFF), IovaRange(0xFEF0_0000, (1 << 48) - 1))


@dataclass
class FakeProber:
    """A kernel that says yes; ``no`` maps a question to the error that answers it."""

    no: dict[str, VfiodpaError] = field(default_factory=dict)
    ranges: tuple[IovaRange, ...] = WIDE
    asked: list[str] = field(default_factory=list)

    def _ask(self, question: str) -> None:
        self.asked.append(question)
        if question in self.no:
            raise self.no[question]

    def type1(self) -> None:
        self._ask("type1")

    def iommufd(self) -> bool:
        self._ask("iommufd")
        return True

    def function(self, address: str) -> Opened:
        self._ask("function")
        return Opened("iommufd", "the kernel has it", 4, self.ranges)


def levels(report: Report) -> dict[str, Level]:
    return {check.name: check.level for check in report.checks}


def by_name(report: Report, name: str) -> Check:
    return next(check for check in report.checks if check.name == name)


@pytest.fixture
def ready(host: FakeHost) -> FakeHost:
    """A machine with everything, and the NIC on vfio-pci."""
    path = host.add(driver="vfio-pci")
    (path / "vfio-dev/vfio0").mkdir(parents=True)
    (host.dev / "vfio/devices").mkdir()
    for name in ("vfio/vfio", "vfio/3", "vfio/devices/vfio0", "iommu"):
        (host.dev / name).touch()
    (host.proc / "interrupts").write_text(" 24:  0  0  IR-PCI-MSIX-0000:00:05.0  0-edge\n")
    return host


def test_a_machine_that_is_able(ready: FakeHost) -> None:
    report = examine(ready, NIC, FakeProber())
    assert [check for check in report.checks if check.level in (Level.FAIL, Level.WARN)] == []
    assert (report.able, report.exit_code) == (True, ExitCode.DONE)


def test_every_failing_line_names_what_mends_it(host: FakeHost) -> None:
    prober = FakeProber({"type1": Unsupported("no container"), "iommufd": Unsupported("no iommufd")})
    host.add(driver="e1000e", ids=(0x8086, 0x10D3), group=None)
    report = examine(host, NIC, prober)
    failing = [check for check in report.checks if check.level is Level.FAIL]
    assert {"IOMMU", "iommufd", "type1", "function", "IOMMU group", "bound to"} <= {check.name for check in failing}
    assert all(check.remedy for check in failing)


def test_a_check_that_fails_without_a_remedy_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="without saying what mends it"):
        Check("x", Level.FAIL, "broken")


def test_no_iommu_is_exit_code_7(host: FakeHost) -> None:
    report = examine(host, "", FakeProber())
    assert (report.able, report.software_able, report.exit_code) == (False, True, ExitCode.UNSUPPORTED)


def test_anything_else_in_the_way_is_exit_code_1(host: FakeHost) -> None:
    host.add()
    report = examine(host, NIC, FakeProber())
    assert by_name(report, "bound to") == Check("bound to", Level.FAIL, "virtio-pci", f"vfiodpa bind {NIC}")
    assert report.exit_code == ExitCode.FAILED


def test_the_software_nic_alone() -> None:
    report = examine(FakeHost(), "soft:port=echo", FakeProber())
    assert report.hardware == ()
    assert report.exit_code == ExitCode.DONE


def test_the_software_nic_is_opened_with_its_keys() -> None:
    assert "6 queues" in by_name(examine(FakeHost(), "soft:queues=3", FakeProber()), "software NIC").text
    broken = examine(FakeHost(), "soft:fault=all_ones", FakeProber())
    assert (broken.able, broken.exit_code) == (False, ExitCode.FAILED)
    with pytest.raises(UsageError, match="port=echo"):
        examine(FakeHost(), "soft:prot=echo", FakeProber())


def test_a_device_that_is_no_address(host: FakeHost) -> None:
    with pytest.raises(UsageError):
        examine(host, "eth0", FakeProber())


def test_a_device_that_is_absent(host: FakeHost) -> None:
    report = examine(host, NIC, FakeProber())
    assert by_name(report, "function").remedy == "vfiodpa list"
    assert report.exit_code == ExitCode.NO_DEVICE


def test_the_software_path_works_here() -> None:
    assert [check.level for check in software_checks()] == [Level.OK] * 4


# The kernel


def test_iommu_units_are_named(host: FakeHost) -> None:
    host.add()
    (host.sysfs / "class/iommu/dmar0").mkdir(parents=True)
    assert check_iommu(host).text == "1 group (dmar0)"


def test_a_group_that_vfio_made_up_is_no_iommu(host: FakeHost) -> None:
    path = host.add()
    (path / "iommu_group/name").write_text("vfio-noiommu\n")
    assert check_iommu(host).level is Level.FAIL


def test_a_module_that_can_be_loaded(host: FakeHost) -> None:
    host.driver("vfio-pci").rmdir()
    assert "CONFIG_VFIO_PCI" in check_driver(host).remedy
    top = host.modules / os.uname().release
    top.mkdir(parents=True)
    (top / "modules.dep").write_text("kernel/drivers/vfio/pci/vfio-pci.ko.xz: kernel/drivers/vfio/vfio.ko.xz\n")
    assert check_driver(host).remedy == "modprobe vfio-pci"


@pytest.mark.parametrize("missing", ["type1", "iommufd"])
def test_one_back_end_is_enough(host: FakeHost, missing: str) -> None:
    found = {c.name: c.level for c in check_backends(host, FakeProber({missing: Unsupported("no")}))}
    assert found.pop(missing) is Level.INFO
    assert list(found.values()) == [Level.OK]


def test_a_back_end_without_permission_says_how_to_get_it(host: FakeHost) -> None:
    denied = LimitError("cannot open /dev/iommu", cause="EACCES", remedy="sudo chown $USER /dev/iommu")
    found = check_backends(host, FakeProber({"iommufd": denied, "type1": Unsupported("no")}))
    assert [(c.name, c.level) for c in found] == [("iommufd", Level.FAIL), ("type1", Level.FAIL)]
    assert found[0].remedy == "sudo chown $USER /dev/iommu"
    assert "CONFIG_VFIO_IOMMU_TYPE1" in found[1].remedy


@pytest.mark.parametrize(
    ("interrupts", "iommufd", "type1", "level", "word"),
    [
        (" 1: 0 IR-IO-APIC 2-edge timer", "N", "N", Level.OK, "on"),
        (" 1: 0 IO-APIC 2-edge timer", "N", "N", Level.WARN, "refuses"),
        (" 1: 0 IO-APIC 2-edge timer", "N", "Y", Level.WARN, "refuses"),
        (" 1: 0 IO-APIC 2-edge timer", "Y", "Y", Level.WARN, "any interrupt"),
        (" 1: 0 IO-APIC 2-edge timer", "", "Y", Level.WARN, "any interrupt"),
        (" 1: 0 IO-APIC 2-edge timer", "", "", Level.WARN, "refuses"),
    ],
)
def test_interrupt_remapping(
    host: FakeHost, interrupts: str, iommufd: str, type1: str, level: Level, word: str
) -> None:
    for module, unsafe in (("iommufd", iommufd), ("vfio_iommu_type1", type1)):
        switch = host.sysfs / f"module/{module}/parameters/allow_unsafe_interrupts"
        if unsafe:
            switch.parent.mkdir(parents=True)
            switch.write_text(unsafe)
    (host.proc / "interrupts").write_text(interrupts)
    check = check_remapping(host, "x86_64")
    assert check.level is level
    assert word in check.text
    if word == "refuses":
        assert ("module/vfio_iommu_type1/" in check.remedy) == (type1 != "Y")
        assert "module/iommufd/" in check.remedy
    assert check_remapping(host, "aarch64").level is Level.INFO


def test_the_probe_of_this_kernel_answers_or_says_why() -> None:
    for question in (KernelProber().type1, KernelProber().iommufd):
        try:
            question()
        except VfiodpaError as error:
            assert error.cause or error.remedy


# Nodes and limits


def test_nodes_that_cannot_be_opened(ready: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    denied = ready.dev / "vfio/3"
    monkeypatch.setattr(os, "access", lambda path, _mode, **_how: path != denied)
    found = {check.name: check for check in check_nodes(ready)}
    assert found[str(denied)].level is Level.FAIL
    assert f"chown $USER {denied}" in found[str(denied)].remedy
    assert len(found) == 4


def test_no_function_is_bound(host: FakeHost) -> None:
    assert [(c.level, c.remedy) for c in check_nodes(host)] == [(Level.INFO, "vfiodpa bind BDF")]


@pytest.mark.parametrize(
    ("limit", "exempt", "level"),
    [
        (8 << 20, False, Level.FAIL),
        (1 << 30, False, Level.WARN),
        (8 << 30, False, Level.OK),
        (-1, False, Level.OK),
        (8 << 20, True, Level.OK),
    ],
)
def test_locked_memory(limit: int, exempt: bool, level: Level) -> None:
    assert check_memlock(limit, exempt=exempt).level is level


def test_hugepages_and_kvm_are_never_in_the_way(host: FakeHost) -> None:
    (host.proc / "meminfo").write_text("MemTotal: 1 kB\nHugePages_Total:     8\nHugePages_Free:      5\n")
    assert check_hugepages(host).text == "5 free of 8; not needed"
    assert check_kvm(host).level is Level.INFO


# One function


def test_foreign_members_are_named(ready: FakeHost) -> None:
    ready.add(OTHER, driver="e1000e")
    check = by_name(examine(ready, NIC, FakeProber()), "IOMMU group")
    assert (check.level, check.remedy) == (Level.FAIL, f"vfiodpa bind --group {NIC}")
    assert "0000:00:06.0 (e1000e)" in check.text


def test_a_function_that_this_machine_needs(ready: FakeHost) -> None:
    ready.add(OTHER, interface="eth0", group=4)
    ready.default_route("eth0")
    assert by_name(examine(ready, OTHER, FakeProber()), "use").level is Level.FAIL


def test_a_function_that_another_process_has_is_not_opened(ready: FakeHost) -> None:
    ready.process(4711, "vfiodpa", ready.dev / "vfio/devices/vfio0")
    prober = FakeProber()
    check = by_name(examine(ready, NIC, prober), "open")
    assert (check.text, check.remedy) == ("vfiodpa (pid 4711) has it open", "end it: kill 4711")
    assert "function" not in prober.asked


def test_a_function_that_does_not_open(ready: FakeHost) -> None:
    prober = FakeProber({"function": VfiodpaError("cannot bind it to iommufd", cause="EPERM")})
    assert by_name(examine(ready, NIC, prober), "open") == Check(
        "open", Level.FAIL, "cannot bind it to iommufd (EPERM)", "dmesg | tail"
    )


def test_a_kernel_without_character_devices_is_able_too(ready: FakeHost) -> None:
    (ready.dev / "vfio/devices/vfio0").unlink()  # sysfs names it all the same
    report = examine(ready, NIC, FakeProber())
    assert by_name(report, "character device").level is Level.INFO
    assert report.able


def test_a_narrow_iommu(ready: FakeHost) -> None:
    assert check_ranges(Opened("type1", "", 4, WIDE)).level is Level.OK
    narrow = check_ranges(Opened("type1", "", 4, (IovaRange(0, (1 << 39) - 1),)))
    assert (narrow.level, narrow.text) == (Level.WARN, "only 39 bits: 0x0-0x7fffffffff")
    assert check_ranges(Opened("noiommu", "", 4, ())).text == "only 0 bits: none"
