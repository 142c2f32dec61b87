"""A daemon whose board is a folder tells that board's facts, and measures by its sensors."""

from pathlib import Path

import pytest

from firmware_bridge.wire.messages import Measurement
from tests.firmware_bridge.agent.conftest import StartBoard
from tests.firmware_bridge.agent.host_double import HostDouble
from tests.firmware_bridge.bench.fake_pi import MODEL, FakePi


@pytest.mark.parametrize(("flags", "verdict"), [(0x1, "undervolt"), (0x4, "throttled")])
def test_what_the_boards_firmware_reports_is_the_verdict(
    flags: int,
    verdict: str,
    host: HostDouble,
    start_board: StartBoard,
    model: bytes,
    tmp_path: Path,
) -> None:
    pi = FakePi(tmp_path / "pi")
    pi.flags(flags)
    start_board(proc_root=pi.proc, sys_root=pi.sys)
    facts = host.wait(lambda: [f for f in host.facts if f.fingerprint["runtime"]])[-1]
    assert facts.fingerprint["board"] == MODEL
    result = host.result(host.send_job(host.job(host.add(model))))
    assert isinstance(result, Measurement), result
    assert result.verdict == verdict
    assert {leg.temp_c for leg in result.legs} == {48.212}
