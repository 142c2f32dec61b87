"""kill -9 of the daemon before and after every durable change of a way back, and of one that ends
a probation; with the real host, which signed it together with the release and offers it.
"""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import datetime, timezone

import pytest

from edgenas.fleet.keys import load_signing_key
from edgenas.fleet.releases import ReleaseSpec, build_release, sign_with_ways_back
from firmware_bridge.bench.stub import STUB_INPUT, STUB_MODEL
from firmware_bridge.store.journal import Journal
from firmware_bridge.wire.release import Role, Target
from tests.survival.site import FLEET, WAIT_S, Site, until

OLD, NEW = STUB_MODEL, STUB_MODEL + b"\0"
SHARES = (0.3, 0.85)
PHASES = {"OFFERED", "ACCEPTED", "DOWNLOADING", "VERIFYING", "STAGED", "ACTIVATING", "PROBATION"}


class Ground:
    """One daemon that goes forth and back, with one host."""

    def __init__(self, site: Site, *more: str) -> None:
        self.site, self.daemon = site, site.daemon(*more)
        self.daemon.start()
        site.wait_online(self.daemon)

    def ship(self, model: bytes) -> str:
        """Offer a model together with its way back; returns the deployment."""
        site, device = self.site, self.daemon.device_id
        contents: dict[Role, bytes] = {
            "model": model,
            "probe_input": STUB_INPUT,
            "probe_output": STUB_INPUT,
        }
        files = {role: site.shelf.add_bytes(content) for role, content in contents.items()}
        spec = ReleaseSpec(fleet=FLEET, target=Target("generic"), files=files)
        now = datetime.now(timezone.utc)
        manifest = build_release(spec, counter=site.host.next_release_counter(), now=now)
        key = load_signing_key(site.keys.signing)
        signed = sign_with_ways_back(manifest, site.host.incumbent(device, "main"), key, now=now)
        return site.host.offer(device, "main", signed.forward, ways_back=signed.ways_back)

    def ended(self, deployment: str) -> tuple[str, str | None]:
        """Outcome and code, once it has come."""
        outcome = self.site.host.wait_deployment(deployment, WAIT_S)
        assert outcome is not None, self.daemon.told()
        return outcome.outcome, None if outcome.report is None else outcome.report.code

    def go_back(self) -> str:
        return self.site.host.go_back(self.daemon.device_id, "main")

    def runs(self, model: bytes) -> bool:
        current = self.daemon.state_dir / "slots" / "main" / "current" / "model.tflite"
        return current.read_bytes() == model  # raises if there were ever a moment without one

    def phase(self) -> str:
        with closing(Journal(self.daemon.state_dir / "journal.sqlite")) as journal:
            return journal.slots.get("main").phase


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A daemon that runs NEW and could go back to OLD."""
    with ExitStack() as cleanup:
        made = Ground(Site("edgenas", tmp_path_factory.mktemp("back"), cleanup))
        for model in (OLD, NEW):
            assert made.ended(made.ship(model))[0] == "SUCCEEDED"
        made.daemon.stop()
        yield made


@pytest.fixture(scope="module")
def moments(ground: Ground) -> int:
    """How many moments a life has in which the device goes back."""
    log = ground.site.folder / "moments"
    back = ground.go_back()
    ground.daemon.start(EDGENAS_FAULT=f"log:{log}")
    assert ground.ended(back) == ("SUCCEEDED", None)
    assert ground.runs(OLD)
    passed = len(log.read_text().splitlines())
    assert ground.ended(ground.ship(NEW))[0] == "SUCCEEDED"
    ground.daemon.stop()
    return passed


def back_with_a_kill(ground: Ground, moment: int) -> str:
    """Go back, die at `moment`, start again; returns the phase it died in."""
    back = ground.go_back()
    ground.daemon.start(EDGENAS_FAULT=f"kill:{moment}")
    site, daemon = ground.site, ground.daemon
    until(lambda: not daemon.running or answered(site, back), "an end", daemon)
    ground.daemon.kill()
    phase = ground.phase()
    assert ground.runs(OLD) or ground.runs(NEW)
    ground.daemon.start()
    assert ground.ended(back)[0] == "SUCCEEDED", ground.daemon.told()
    assert ground.runs(OLD)
    assert ground.ended(ground.ship(NEW))[0] == "SUCCEEDED"
    assert ground.runs(NEW)
    ground.daemon.stop()
    return phase


@pytest.mark.parametrize("share", SHARES)
def test_a_kill_on_the_way_back_is_caught_up_with(
    ground: Ground, moments: int, share: float
) -> None:
    back_with_a_kill(ground, 1 + int(share * moments))


@pytest.mark.survival
@pytest.mark.timeout(7200)
def test_no_kill_at_any_moment_of_the_way_back_does_harm(ground: Ground, moments: int) -> None:
    died_in = {back_with_a_kill(ground, moment) for moment in range(1, moments + 1)}
    assert died_in >= PHASES


def probation_with_a_kill(site: Site, moment: int) -> bool:
    """Go back out of a probation, die at `moment`, start again; False if it lived on."""
    ground = Ground(site, "--probation-s", "3600")
    first = ground.ship(OLD)
    until(lambda: ground.phase() == "PROBATION", "a probation", ground.daemon)
    ground.daemon.stop()
    back = ground.go_back()
    ground.daemon.start(EDGENAS_FAULT=f"kill:{moment}")
    until(lambda: not ground.daemon.running or answered(site, back), "an end", ground.daemon)
    died = not ground.daemon.running
    ground.daemon.kill()
    ground.daemon.start()
    assert ground.ended(first) == ("ROLLED_BACK", "back_release"), ground.daemon.told()
    assert ground.ended(back) == ("SUCCEEDED", "already_installed"), ground.daemon.told()
    slot = ground.daemon.state_dir / "slots" / "main"
    assert not (slot / "current").is_symlink()  # a first deployment goes back to an empty slot
    ground.daemon.stop()
    return died


def answered(site: Site, deployment: str) -> bool:
    return site.host.wait_deployment(deployment, 0) is not None


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as cleanup:
        yield Site("edgenas", tmp_path_factory.mktemp("probation"), cleanup)


def test_a_kill_while_a_probation_is_ended_is_caught_up_with(shared_site: Site) -> None:
    assert probation_with_a_kill(shared_site, 50)


@pytest.mark.survival
@pytest.mark.timeout(7200)
def test_no_kill_at_any_moment_of_ending_a_probation_does_harm(shared_site: Site) -> None:
    moment = 1
    while probation_with_a_kill(shared_site, moment):
        moment += 1
    assert moment > 50
