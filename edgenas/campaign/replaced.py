"""A board that is another one than before under the same id: what was measured no longer holds.

A replaced or upgraded board, another governor or runtime: its figures cannot be compared with what
the id stood for before. It is a change of the device as one seen by its reference model is, only
known beforehand. That one is seen, and answered, in `edgenas.campaign.lane`.
"""

from __future__ import annotations

from edgenas.campaign.measuring import DeviceSetup
from edgenas.search.study import Study

REASON = "it says that it is another board, or runs other software, than when it was measured"


def is_another_board(known: DeviceSetup, now: DeviceSetup) -> bool:
    """Whether both said what they are, and it differs."""
    return bool(known.fingerprint and now.fingerprint) and known.fingerprint != now.fingerprint


def void_figures(study: Study, device: str) -> None:
    """Take back what was measured on a device, or by its equals in its name; it stays on file."""
    study.probes.mark_drift(device, REASON)
    void = [
        trial.number
        for trial in study.trials()
        if trial.state != "asked"
        and device in (trial.device, (study.raw(trial.number) or {}).get("device"))
    ]
    study.invalidate(void, f"{device} has changed: {REASON}")
