"""A folder that looks like the ``/proc`` and ``/sys`` of a Raspberry Pi, to be changed at will."""

from pathlib import Path

from firmware_bridge.bench.sensors import GET_THROTTLED

MODEL = "Raspberry Pi 4 Model B Rev 1.4"


class FakePi:
    """Roots of ``/proc`` and ``/sys`` with what a Raspberry Pi shows; real are only its files."""

    def __init__(self, root: Path) -> None:
        self.proc, self.sys = root / "proc", root / "sys"
        self.cpus = self.sys / "devices/system/cpu"
        self.write("devices/system/cpu/online", "0-1")
        for cpu in (0, 1):
            self.frequency(1_800_000, cpu)
        self.write("class/thermal/thermal_zone0/type", "cpu-thermal")
        self.write("class/thermal/thermal_zone0/temp", "48212")
        self.flags(0)
        self.proc.mkdir(parents=True)
        (self.proc / "cpuinfo").write_text(f"processor : 0\nprocessor : 1\nModel\t\t: {MODEL}\n")
        (self.proc / "meminfo").write_text("MemTotal: 4000000 kB\nMemAvailable: 3000000 kB\n")

    def write(self, name: str, text: str) -> None:
        path = self.sys / name
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(path.name + ".new")
        new.write_text(text + "\n")
        new.replace(path)  # a reader sees the old or the new value, as in sysfs

    def flags(self, bits: int) -> None:
        self.write(GET_THROTTLED, f"{bits:x}")

    def frequency(self, khz: int, cpu: int) -> None:
        self.write(f"devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq", str(khz))
