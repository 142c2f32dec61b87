"""What a check of ``doctor`` says, and the list of all codes with their severity.

A code is stable: scripts may rely on it, and docs/devices/doctor.md explains each. The words around
it may change. Leaves looking to the checks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]

SEVERITY: dict[str, Status] = {
    # python
    "python-old": "fail",
    "python-32-bit": "warn",
    # runtime, numpy, packages
    "runtime-missing": "fail",
    "runtime-broken": "fail",
    "numpy-missing": "fail",
    "numpy-too-new": "fail",
    "packages-missing": "fail",
    # cpu
    "cpu-unknown": "warn",
    "cpu-slow-int8": "warn",
    "cpus-offline": "warn",
    # memory
    "peak-not-resettable": "warn",
    "cgroup-memory-off": "warn",
    # governor, throttling
    "governor-unknown": "warn",
    "governor-not-performance": "warn",
    "throttling-unknown": "warn",
    "throttled-now": "warn",
    "throttled-since-boot": "warn",
    "undervolt-now": "fail",
    "undervolt-since-boot": "warn",
    # disk, keys, lock, holds
    "disk-missing": "fail",
    "disk-read-only": "fail",
    "disk-low": "fail",
    "keys-missing": "warn",
    "key-unreadable": "fail",
    "key-exposed": "fail",
    "lock-unusable": "fail",
    "hold-active": "warn",
    "hold-ignored": "warn",
    # service
    "service-missing": "warn",
    "service-disabled": "warn",
    "service-failed": "fail",
    # clock
    "clock-unknown": "warn",
    "clock-unsynchronised": "warn",
    "clock-behind": "fail",
    "clock-wrong": "fail",
    # broker
    "broker-unset": "warn",
    "broker-address": "fail",
    "name-unknown": "fail",
    "tcp-failed": "fail",
    "tls-untrusted": "fail",
    "tls-wrong-name": "fail",
    "tls-expired": "fail",
    "tls-expires-soon": "warn",
    "tls-failed": "fail",
    "tls-files": "fail",
    "mqtt-refused": "fail",
    "mqtt-no-answer": "fail",
    "packet-limit": "fail",
    # rights
    "identity-unset": "warn",
    "rights-write": "fail",
    "rights-read": "fail",
    "rights-unproven": "warn",
    "rights-too-wide": "warn",
}
"""``fail``: jobs or releases do not work. ``warn``: they work, but less well, or unproven."""


@dataclass(frozen=True)
class Finding:
    """What one check saw.

    Attributes:
        check: Its name.
        status: ``warn`` means that the board works, but less well.
        cause: What was seen.
        fix: What to do, empty if ok.
        code: One of ``SEVERITY``, empty if ok.
    """

    check: str
    status: Status
    cause: str
    fix: str = ""
    code: str = ""


def ok(check: str, cause: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", cause)


def flaw(check: str, code: str, cause: str, fix: str) -> Finding:
    """Something is not, as severe as its code is."""
    return Finding(check, SEVERITY[code], cause, fix, code)
