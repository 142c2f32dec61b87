"""The broker goes, comes back knowing nothing, freezes, or cannot be reached."""

import signal
import time

import pytest

from tests.firmware_bridge.wire.cable import Cable
from tests.survival.site import Site, Work, until


def test_a_broker_restart_in_the_middle_of_work(site: Site) -> None:
    daemon = site.daemon()
    daemon.start()
    site.wait_online(daemon)
    work = site.work(daemon)
    until(lambda: site.status(daemon) != "idle", "work under way", daemon)
    site.stop_broker()
    site.start_broker()  # it has forgotten every session and everything retained
    site.check_settled(daemon, work)


def test_work_ends_while_the_network_is_gone(site: Site) -> None:
    cable = Cable(site.broker.port)
    try:
        daemon = site.daemon(url=f"mqtt://127.0.0.1:{cable.port}")
        daemon.start()
        site.wait_online(daemon)
        job = site.submit(daemon)
        until(lambda: site.status(daemon) == "measuring", "measuring", daemon)
        cable.cut()
        before = cable.accepted
        until(lambda: cable.accepted > before + 1, "two vain attempts to connect", daemon)
        assert site.host.outcome(job) is None
        cable.mend()
        site.check_settled(daemon, Work([job]))
    finally:
        cable.close()


@pytest.mark.survival
def test_a_daemon_that_starts_before_its_broker(site: Site) -> None:
    daemon = site.daemon()
    site.stop_broker()
    daemon.start()
    job = site.submit(daemon)
    site.start_broker()
    site.check_settled(daemon, Work([job]))


@pytest.mark.survival
def test_a_broker_that_freezes_for_longer_than_the_keep_alive(site: Site) -> None:
    daemon = site.daemon()
    daemon.start(EDGENAS_SILENCE_S="5")  # as it is by default: ten tries outlast the keep-alive
    site.wait_online(daemon)
    job = site.submit(daemon)
    site.broker.process.send_signal(signal.SIGSTOP)
    time.sleep(50)  # keep-alive 30 s, so both ends have given the connection up
    site.broker.process.send_signal(signal.SIGCONT)
    site.check_settled(daemon, Work([job]))
