"""What a board's profile says reaches the measurement on the board: from its files in /proc and
/sys over facts, profile, setup and job to the check of its temperature.
"""

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from edgenas.campaign.boards import device_setup, fingerprint_of
from edgenas.campaign.errors import CampaignError
from edgenas.campaign.finals import FinalsPlan
from edgenas.campaign.measuring import DeviceSetup, measure_spec
from edgenas.campaign.picking import read_setups
from edgenas.campaign.rundir import RunDir, write_json
from edgenas.campaign.scoring import Candidate
from edgenas.fleet.device_view import DeviceView
from edgenas.fleet.jobs import build_job, patience_s
from edgenas.fleet.presence import Phase
from edgenas.fleet.profiles import ProfileProblemError, known_profiles, profile_of
from edgenas.fleet.shelf import BlobShelf
from edgenas.search.budget import Budget
from firmware_bridge.bench.plan import plan_for_job
from firmware_bridge.bench.preflight import Surroundings, check_temperature
from firmware_bridge.facts import fingerprint, read_board
from firmware_bridge.wire.codec import decode, encode
from firmware_bridge.wire.levels import LEVELS
from firmware_bridge.wire.messages import Facts, MeasureJob, Quiet
from tests.device_profiles.files import write
from tests.devices.fake_boards import BOARDS, FakeBoard

PROFILES = known_profiles()
MIB = 1 << 20


def view_of(board: FakeBoard, folder: Path, enrolled: str | None = "generic") -> DeviceView:
    """The device as the host sees it after the board has sent its facts."""
    roots = board.write(folder)
    read = read_board(roots.proc, roots.sys, roots.etc, board.machine, roots.var)
    facts = Facts(
        profile=enrolled,
        fingerprint=fingerprint(read, "ai-edge-litert 2.3.0 xnnpack", threads=1),
        ram_bytes=read.ram_bytes,
        disk_free_bytes=1 << 30,
        measure=True,
        can_verify=True,
    )
    message = decode(encode(facts)).message
    assert isinstance(message, Facts)
    return DeviceView("dev-1", Phase.ONLINE, False, "i", None, message)


def job_for(setup: DeviceSetup, level: str, candidate: Candidate, folder: Path) -> MeasureJob:
    """The job as the device reads it."""
    shelf = BlobShelf(folder / "shelf")
    message = decode(encode(build_job(measure_spec(candidate, setup, level, shelf), shelf))).message
    assert isinstance(message, MeasureJob)
    return message


def test_a_hot_board_waits_as_long_and_for_as_little_as_its_profile_says(
    smallest: Candidate, tmp_path: Path
) -> None:
    view = view_of(BOARDS["raspberry-pi-3"], tmp_path)
    setup = device_setup(view, PROFILES)
    assert (setup.profile, setup.cpus) == ("raspberry-pi-3", (3,))
    job = job_for(setup, "standard", smallest, tmp_path)
    plan = plan_for_job(replace(job, golden=None), smallest.exported.path)
    now_s = [0.0]

    def pause(seconds: float) -> None:
        now_s[0] += seconds

    around = Surroundings(
        tmp_path / "proc", tmp_path / "sys", lambda: False, lambda: now_s[0], pause
    )
    assert check_temperature(plan, around) is None  # 45 degrees, below 52
    (tmp_path / "sys/class/thermal/thermal_zone0/temp").write_text("56000\n")
    unfit = check_temperature(plan, around)
    assert unfit is not None
    assert unfit.obstacle == "throttled"
    assert "52.0 degrees" in unfit.detail
    assert 240 <= now_s[0] <= 242
    plain = plan_for_job(
        replace(job_for(DeviceSetup("dev-1"), "standard", smallest, tmp_path), golden=None),
        smallest.exported.path,
    )
    assert check_temperature(plain, around) is None  # nobody else would have noticed


@pytest.mark.parametrize("level", ["standard", "certify"])
def test_every_setting_of_a_profile_is_in_the_job(
    level: str, smallest: Candidate, tmp_path: Path
) -> None:
    setup = device_setup(view_of(BOARDS["raspberry-pi-zero-2"], tmp_path), PROFILES)
    job = job_for(setup, level, smallest, tmp_path)
    assert (job.threads, job.cpus) == (1, (3,))
    assert job.memory_cap_bytes == 128 * MIB
    assert job.cap_ms == 2 * LEVELS[level].cap_ms
    quiet = job.quiet
    assert (quiet.temp_delta_c, quiet.temp_max_c) == (10.0, 60.0)
    assert (quiet.wait_ms, quiet.blind_pause_ms) == (240_000, 60_000)
    assert (quiet.busy_pct, quiet.window_ms) == (10.0, 3000)  # the level's own
    waits_s = (240_000 + 60_000 + 4 * job.cap_ms + job.ttl_ms) / 1000
    assert patience_s(job, 0.0) == waits_s


def test_a_level_that_waits_for_nothing_does_not_wait_to_cool(
    smallest: Candidate, tmp_path: Path
) -> None:
    setup = device_setup(view_of(BOARDS["raspberry-pi-zero-2"], tmp_path), PROFILES)
    job = job_for(setup, "quick", smallest, tmp_path)
    assert job.quiet == LEVELS["quick"].quiet
    assert job.cap_ms == 10_000


def test_an_average_machine_is_measured_as_without_a_profile(
    smallest: Candidate, tmp_path: Path
) -> None:
    setup = device_setup(view_of(BOARDS["generic-x86_64"], tmp_path), PROFILES)
    plain = job_for(DeviceSetup("dev-1"), "standard", smallest, tmp_path)
    assert job_for(setup, "standard", smallest, tmp_path) == plain
    assert plain.quiet == Quiet()


def test_threads_that_were_asked_for_win_and_are_pinned_in_one_cluster(tmp_path: Path) -> None:
    rock = view_of(BOARDS["generic-arm64"], tmp_path)
    assert device_setup(rock, PROFILES).cpus == (7,)
    assert device_setup(rock, PROFILES, threads=3).cpus == (5, 6, 7)
    with pytest.raises(CampaignError, match=r"device dev-1: profile generic-arm64.*got 8"):
        device_setup(rock, PROFILES, threads=8)


def test_a_profile_named_at_enrolment_goes_before_the_one_that_matches(tmp_path: Path) -> None:
    named = view_of(BOARDS["raspberry-pi-5"], tmp_path, enrolled="raspberry-pi-4")
    assert device_setup(named, PROFILES).profile == "raspberry-pi-4"
    unknown = view_of(BOARDS["raspberry-pi-5"], tmp_path, enrolled="kiosk")
    own = fingerprint_of(unknown)
    assert device_setup(unknown, PROFILES) == DeviceSetup("dev-1", profile="kiosk", fingerprint=own)


def test_a_setup_is_the_same_after_a_night_in_the_run_folder(tmp_path: Path) -> None:
    setup = device_setup(view_of(BOARDS["raspberry-pi-3"], tmp_path / "pi"), PROFILES)
    run = RunDir(tmp_path)
    write_json(run.setups, {"devices": [asdict(setup)], "finals": asdict(FinalsPlan())})
    assert read_setups(run) == ([setup], FinalsPlan())


def test_a_tie_is_an_error_where_devices_are_chosen(tmp_path: Path) -> None:
    match = 'arch = "aarch64"\nsoc = "brcm,*"'
    write(tmp_path, "mine", ('arch = "aarch64"', match))
    profiles = known_profiles(tmp_path)
    view = view_of(BOARDS["raspberry-pi-5"], tmp_path / "pi")
    with pytest.raises(ProfileProblemError, match=r"device dev-1.*mine and raspberry-pi-5"):
        device_setup(view, profiles)
    assert profile_of(view, profiles) == "unknown"


def test_a_users_wrong_file_is_one_clear_line(tmp_path: Path) -> None:
    write(tmp_path, "mine", ("cap_ms", "cap_s"))
    with pytest.raises(ProfileProblemError, match=r"mine.toml: measure.cap_s.*did you mean"):
        known_profiles(tmp_path)


def test_a_budget_stays_within_what_the_board_can_spare() -> None:
    derived = Budget(5.0, 100 * MIB, "70 % of the way")
    tight = derived.within_memory(32 * MIB, "profile raspberry-pi-zero-2")
    assert (tight.latency_p95_ms, tight.peak_memory_bytes) == (5.0, 32 * MIB)
    assert "70 % of the way" in tight.reason
    assert "raspberry-pi-zero-2" in tight.reason
    assert tight.within_memory(64 * MIB, "profile x") is tight
    assert Budget().within_memory(MIB, "profile x").peak_memory_bytes == MIB
