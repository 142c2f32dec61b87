"""What packages there are: architectures, Pythons, and what each board is to a wheel.

Plain values; fetching and packing are left to `wheels` and `tree`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "armhf": "armv7l"}
PYTHONS = ("310", "311", "312", "313")
ARMHF_PYTHON = "311"  # the only one of Debian's Pythons that a 32-bit runtime exists for
_GLIBC_MINORS = range(17, 42)

# 32-bit boards take these from their distribution: there are no wheels of them. tflite-runtime dies
# under numpy 2.
FROM_DEBIAN = {
    "numpy": ("python3-numpy (>= 1:1.23)", "python3-numpy (<< 1:2)"),
    "cryptography": ("python3-cryptography (>= 38)",),
}


class DebError(Exception):
    """A package cannot be built; says what was expected, what came and what to do."""


@dataclass(frozen=True)
class Target:
    """One package.

    Attributes:
        arch: Debian's name of the architecture.
        python: The board's Python without its dot, for instance `311`.
    """

    arch: str
    python: str

    def __str__(self) -> str:
        return f"{self.arch} with Python {self.dotted}"

    @property
    def dotted(self) -> str:
        """The Python version with its dot."""
        return f"{self.python[0]}.{self.python[1:]}"

    @property
    def from_debian(self) -> frozenset[str]:
        """Distributions that come as Debian packages instead of wheels."""
        return frozenset(FROM_DEBIAN) if self.arch == "armhf" else frozenset()

    @property
    def depends(self) -> str:
        """The package's `Depends` field: this Python and no other, and what wheels link against."""
        major, minor = self.dotted.split(".")
        python = [f"python3 (>= {self.dotted})", f"python3 (<< {major}.{int(minor) + 1})"]
        distribution = [each for name in sorted(self.from_debian) for each in FROM_DEBIAN[name]]
        return ", ".join([*python, *distribution, "libc6 (>= 2.34)", "libstdc++6", "adduser"])

    @property
    def environment(self) -> dict[str, str]:
        """Values that environment markers have on the board, whatever machine this is."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.dotted}.0",
            "os_name": "posix",
            "platform_machine": MACHINES[self.arch],
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.dotted}.0",
            "python_version": self.dotted,
            "sys_platform": "linux",
        }

    @property
    def wheel_options(self) -> list[str]:
        """How pip is told of the board; every level of glibc has to be named."""
        machine = MACHINES[self.arch]
        levels = [f"manylinux_2_{minor}_{machine}" for minor in reversed(_GLIBC_MINORS)]
        options = ["--only-binary=:all:", "--implementation=cp", f"--python-version={self.dotted}"]
        options += [f"--abi={abi}" for abi in (f"cp{self.python}", "abi3", "none")]
        return options + [f"--platform={each}" for each in (*levels, f"manylinux2014_{machine}")]


def targets(archs: Iterable[str], pythons: Iterable[str]) -> list[Target]:
    """Packages of these architectures and Pythons that boards can use.

    Raises:
        DebError: One is unknown, or nothing is left.
    """
    wanted = [(arch, python.replace(".", "")) for arch in archs for python in pythons]
    for arch, python in wanted:
        if arch not in MACHINES or python not in PYTHONS:
            known = f"ARCH out of {' '.join(MACHINES)} and PY out of {' '.join(PYTHONS)}"
            raise DebError(f"expected {known}, got {arch!r} and {python!r}")
    found = [Target(arch, py) for arch, py in wanted if arch != "armhf" or py == ARMHF_PYTHON]
    if not found:
        raise DebError(
            f"expected PY={ARMHF_PYTHON} for armhf, got {wanted}; "
            "32-bit boards have no runtime for any other Python of Debian's"
        )
    return found
