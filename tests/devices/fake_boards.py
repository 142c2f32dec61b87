"""Boards as folders: what the kernel of each shows under /proc and /sys, written out for tests.

Only what our readers look at, in the form that the board's own system gives it. What is made of it
is left to the tests. None of these files was copied from hardware; forms and names follow the
kernel's documentation and the makers' device trees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CORTEX_A53 = ("0xd03", "0x0", 4, "fp asimd evtstrm crc32 cpuid")
CORTEX_A57 = ("0xd07", "0x1", 1, "fp asimd evtstrm aes pmull sha1 sha2 crc32")
CORTEX_A72 = ("0xd08", "0x0", 3, "fp asimd evtstrm crc32 cpuid")
CORTEX_A76 = (
    "0xd0b", "0x4", 1,
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop "
    "asimddp",
)  # fmt: skip
CORTEX_A55 = ("0xd05", "0x2", 0, CORTEX_A76[3])
CORTEX_A78AE = (
    "0xd42", "0x0", 1,
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop "
    "asimddp uscat ilrcpc flagm paca pacg",
)  # fmt: skip

Core = tuple[str, str, int, str]


@dataclass(frozen=True)
class Roots:
    """Where the folders of one board are."""

    folder: Path

    @property
    def proc(self) -> Path:
        return self.folder / "proc"

    @property
    def sys(self) -> Path:
        return self.folder / "sys"

    @property
    def etc(self) -> Path:
        return self.folder / "etc"

    @property
    def var(self) -> Path:
        return self.folder / "var"

    def write(self, path: str, text: str) -> None:
        """Put a file into the board's folder."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


@dataclass(frozen=True)
class FakeBoard:
    """One board, to be written into a folder.

    Attributes:
        model: Product name in the device tree, None for a machine without one.
        compatible: Names of the device tree, most special first.
        machine: What `uname -m` says.
        cores: Kind of each online CPU.
        khz: Highest frequency of each online CPU.
        capacities: Relative speed of each CPU, where the kernel says it.
        ram_kib: MemTotal.
        kernel, os_release: As in /proc/sys/kernel/osrelease and /etc/os-release.
        zones: Thermal zones in order: type and thousandths of a degree.
        throttled: The firmware's flags, None for a board without them.
        more: Further files by path.
    """

    model: str | None
    compatible: Sequence[str]
    machine: str
    cores: Sequence[Core]
    khz: Sequence[tuple[int, int]]
    ram_kib: int
    kernel: str
    os_release: str
    zones: Sequence[tuple[str, int]] = (("cpu-thermal", 45_000),)
    capacities: Sequence[int] = ()
    throttled: str | None = None
    governor: str = "ondemand"
    more: Mapping[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> Roots:
        """Make the board."""
        roots = Roots(folder)
        self._write_cpus(roots)
        roots.write("proc/cpuinfo", self._cpuinfo())
        available = self.ram_kib * 7 // 10
        roots.write(
            "proc/meminfo",
            f"MemTotal:       {self.ram_kib:8d} kB\nMemFree:        {available // 2:8d} kB\n"
            f"MemAvailable:   {available:8d} kB\nSwapTotal:             0 kB\n",
        )
        roots.write("proc/sys/kernel/osrelease", self.kernel + "\n")
        roots.write("etc/os-release", self.os_release)
        for number, (kind, millidegrees) in enumerate(self.zones):
            zone = f"sys/class/thermal/thermal_zone{number}"
            roots.write(f"{zone}/type", kind + "\n")
            roots.write(f"{zone}/temp", f"{millidegrees}\n")
        if self.model is not None:
            tree = "sys/firmware/devicetree/base"
            roots.write(f"{tree}/model", self.model + "\0")
            roots.write(f"{tree}/compatible", "".join(name + "\0" for name in self.compatible))
        if self.throttled is not None:
            flags = "sys/devices/platform/soc/soc:firmware/get_throttled"
            roots.write(flags, self.throttled + "\n")
        for path, text in self.more.items():
            roots.write(path, text)
        return roots

    def _write_cpus(self, roots: Roots) -> None:
        base = "sys/devices/system/cpu"
        last = len(self.cores) - 1
        roots.write(f"{base}/online", f"0-{last}\n" if last else "0\n")
        for number, (low, high) in enumerate(self.khz):
            cpufreq = f"{base}/cpu{number}/cpufreq"
            roots.write(f"{cpufreq}/cpuinfo_min_freq", f"{low}\n")
            roots.write(f"{cpufreq}/cpuinfo_max_freq", f"{high}\n")
            roots.write(f"{cpufreq}/scaling_cur_freq", f"{high}\n")
            roots.write(f"{cpufreq}/scaling_governor", self.governor + "\n")
        for number, capacity in enumerate(self.capacities):
            roots.write(f"{base}/cpu{number}/cpu_capacity", f"{capacity}\n")

    def _cpuinfo(self) -> str:
        if self.machine == "x86_64":
            return "".join(
                f"processor\t: {number}\nvendor_id\t: GenuineIntel\ncpu family\t: 6\n"
                f"model name\t: {core[0]}\nflags\t\t: {core[3]}\n\n"
                for number, core in enumerate(self.cores)
            )
        blocks = "".join(
            f"processor\t: {number}\nBogoMIPS\t: 108.00\nFeatures\t: {features}\n"
            "CPU implementer\t: 0x41\nCPU architecture: 8\n"
            f"CPU variant\t: {variant}\nCPU part\t: {part}\nCPU revision\t: {revision}\n\n"
            for number, (part, variant, revision, features) in enumerate(self.cores)
        )
        return blocks + (f"Model\t\t: {self.model}\n" if "raspberrypi" in self.kernel_maker else "")

    @property
    def kernel_maker(self) -> str:
        return self.compatible[0] if self.compatible else ""


PI_OS_12 = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nID=debian\n'
UBUNTU_18 = 'NAME="Ubuntu"\nVERSION_ID="18.04"\nID=ubuntu\nID_LIKE=debian\n'
UBUNTU_22 = 'NAME="Ubuntu"\nVERSION_ID="22.04"\nID=ubuntu\nID_LIKE=debian\n'
NANO_MODES = """# Nano power modes
< POWER_MODEL ID=0 NAME=MAXN >
CPU_ONLINE CORE_0 1
CPU_ONLINE CORE_3 1
< POWER_MODEL ID=1 NAME=5W >
CPU_ONLINE CORE_2 0
CPU_ONLINE CORE_3 0
< PM_CONFIG DEFAULT=0 >
"""
ORIN_MODES = """< POWER_MODEL ID=0 NAME=15W >
< POWER_MODEL ID=1 NAME=25W >
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
< POWER_MODEL ID=3 NAME=7W >
< PM_CONFIG DEFAULT=1 >
"""
NANO_ZONES = (
    ("AO-therm", 41_500), ("CPU-therm", 34_000), ("GPU-therm", 31_000), ("PLL-therm", 31_500),
    ("PMIC-Die", 100_000), ("thermal-fan-est", 33_000),
)  # fmt: skip
ORIN_ZONES = (
    ("cpu-thermal", 46_812), ("gpu-thermal", 45_093), ("soc0-thermal", 44_906),
    ("soc1-thermal", 45_437), ("soc2-thermal", 45_250), ("tj-thermal", 46_812),
)  # fmt: skip


def raspberry_pi(
    model: str, compatible: tuple[str, str], core: Core, khz: tuple[int, int], ram_kib: int
) -> FakeBoard:
    """A Raspberry Pi with the 64-bit system of its maker."""
    return FakeBoard(
        model=model,
        compatible=compatible,
        machine="aarch64",
        cores=[core] * 4,
        khz=[khz] * 4,
        ram_kib=ram_kib,
        kernel="6.6.51+rpt-rpi-2712" if "2712" in compatible[1] else "6.6.51+rpt-rpi-v8",
        os_release=PI_OS_12,
        throttled="0",
    )


BOARDS: dict[str, FakeBoard] = {
    "raspberry-pi-3": raspberry_pi(
        "Raspberry Pi 3 Model B Plus Rev 1.3",
        ("raspberrypi,3-model-b-plus", "brcm,bcm2837"),
        CORTEX_A53, (600_000, 1_400_000), 931_572,
    ),
    "raspberry-pi-4": raspberry_pi(
        "Raspberry Pi 4 Model B Rev 1.4",
        ("raspberrypi,4-model-b", "brcm,bcm2711"),
        CORTEX_A72, (600_000, 1_800_000), 3_885_396,
    ),
    "raspberry-pi-4-1gb": raspberry_pi(
        "Raspberry Pi 4 Model B Rev 1.2",
        ("raspberrypi,4-model-b", "brcm,bcm2711"),
        CORTEX_A72, (600_000, 1_500_000), 929_556,
    ),
    "raspberry-pi-5": raspberry_pi(
        "Raspberry Pi 5 Model B Rev 1.0",
        ("raspberrypi,5-model-b", "brcm,bcm2712"),
        CORTEX_A76, (1_500_000, 2_400_000), 8_245_056,
    ),
    "raspberry-pi-zero-2": raspberry_pi(
        "Raspberry Pi Zero 2 W Rev 1.0",
        ("raspberrypi,model-zero-2-w", "brcm,bcm2837"),
        CORTEX_A53, (600_000, 1_000_000), 426_324,
    ),
    "jetson-nano": FakeBoard(
        model="NVIDIA Jetson Nano Developer Kit",
        compatible=(
            "nvidia,p3449-0000-b00+p3448-0000-b00", "nvidia,jetson-nano", "nvidia,tegra210",
        ),
        machine="aarch64",
        cores=[CORTEX_A57] * 4,
        khz=[(102_000, 1_479_000)] * 4,
        ram_kib=4_059_248,
        kernel="4.9.337-tegra",
        os_release=UBUNTU_18,
        zones=NANO_ZONES,
        governor="schedutil",
        more={"var/lib/nvpmodel/status": "pmode:0000\nfmode:fanNull\n",
              "etc/nvpmodel.conf": NANO_MODES},
    ),
    "jetson-orin-nano": FakeBoard(
        model="NVIDIA Jetson Orin Nano Developer Kit",
        compatible=("nvidia,p3768-0000+p3767-0005", "nvidia,p3767-0005", "nvidia,tegra234"),
        machine="aarch64",
        cores=[CORTEX_A78AE] * 6,
        khz=[(115_200, 1_510_400)] * 6,
        ram_kib=7_802_876,
        kernel="5.15.148-tegra",
        os_release=UBUNTU_22,
        zones=ORIN_ZONES,
        governor="schedutil",
        more={"var/lib/nvpmodel/status": "pmode:0000\n", "etc/nvpmodel.conf": ORIN_MODES},
    ),
    "generic-arm64": FakeBoard(
        model="Radxa ROCK 5B",
        compatible=("radxa,rock-5b", "rockchip,rk3588"),
        machine="aarch64",
        cores=[*[CORTEX_A55] * 4, *[CORTEX_A76] * 4],
        khz=[*[(408_000, 1_800_000)] * 4, *[(408_000, 2_256_000)] * 4],
        capacities=[530] * 4 + [1024] * 4,
        ram_kib=8_123_400,
        kernel="6.1.43-15-rk2312",
        os_release=PI_OS_12,
        zones=(("soc-thermal", 39_000), ("bigcore0-thermal", 39_800)),
    ),
    "generic-armv7": FakeBoard(
        model="Raspberry Pi 3 Model B Plus Rev 1.3",
        compatible=("raspberrypi,3-model-b-plus", "brcm,bcm2837"),
        machine="armv7l",
        cores=[("0xd03", "0x0", 4, "half thumb fastmult vfp edsp neon vfpv3 vfpv4 crc32")] * 4,
        khz=[(600_000, 1_400_000)] * 4,
        ram_kib=943_876,
        kernel="6.6.51+rpt-rpi-v7",
        os_release=PI_OS_12,
        throttled="0",
    ),
    "generic-x86_64": FakeBoard(
        model=None,
        compatible=(),
        machine="x86_64",
        cores=[("Intel(R) Celeron(R) J4125 CPU @ 2.00GHz", "", 0, "fpu sse2 ssse3 sse4_1 sse4_2")]
        * 4,
        khz=[(800_000, 2_700_000)] * 4,
        ram_kib=7_900_000,
        kernel="6.1.0-25-amd64",
        os_release=PI_OS_12,
        zones=(("x86_pkg_temp", 48_000),),
        more={"sys/class/dmi/id/product_name": "Mini PC\n"},
    ),
}  # fmt: skip
"""Every kind of board that a profile exists for, by the profile's name."""
