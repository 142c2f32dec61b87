"""Opening what a campaign measures on: a broker, a fleet host, and daemons of this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgenas.broker.thread import BrokerThread
from edgenas.campaign.rundir import RunDir
from edgenas.database.address import Address, Where
from edgenas.fleet.enrolment_desk import EnrolmentDesk
from edgenas.fleet.host import FleetHost
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.shelf import BlobShelf
from edgenas.site.access import SiteAccess
from firmware_bridge.wire.mqtt import MqttLink
from firmware_bridge.wire.values import new_id

FLEET = "edgenas"
CONNECT_S = 10.0


@contextmanager
def broker_at(url: str | None) -> Iterator[str]:
    """The given broker's address, or an embedded one on a free loopback port."""
    if url is not None:
        yield url
        return
    with BrokerThread(port=0) as broker:
        yield broker.url


@contextmanager
def clearing_link(url: str, tls: Path | None = None) -> Iterator[MqttLink]:
    """A connection for clearing what devices have left; a host keeps its own beside it.

    Raises:
        BrokerUnreachableError: nobody answers at `url`.
        SiteError: `tls` is no folder with certificates, or one without the one for this.
    """
    context = None if tls is None else SiteAccess(tls).clerk()
    link = MqttLink(url, f"clerk-{new_id()}", session_expiry_s=0, tls=context)
    link.open(lambda _: None)
    try:
        link.wait_connected(CONNECT_S)
        yield link
    finally:
        link.close()


@contextmanager
def fleet_host(
    run: RunDir,
    url: str,
    fleet: str,
    database: Where | None = None,
    tls: Path | None = None,
) -> Iterator[FleetHost]:
    """The host's end of a fleet, with the run folder's journal and the shelf beside that.

    Args:
        run: the run folder.
        url: where the broker is.
        fleet: name of the fleet.
        database: a journal elsewhere, instead of the run folder's.
        tls: folder with the certificates to answer the broker with; see `edgenas.site.access`.

    Raises:
        BrokerUnreachableError: nobody answers at `url`.
        InvalidValueError: `url` is no broker's, or one without TLS beside `tls`; nothing is made.
        SiteError: `tls` is no such folder.
    """
    access = None if tls is None else SiteAccess(tls)
    link = MqttLink(url, f"host-{fleet}", tls=None if access is None else access.host())
    run.path.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        journal = stack.enter_context(contextlib.closing(FleetJournal(database or run.fleet)))
        desk = None
        if access is not None and access.site is not None:
            desk = EnrolmentDesk(journal, access.site)
        shelf = shelf_for(run, database)
        yield stack.enter_context(FleetHost(link, fleet, shelf, journal, enrolment=desk))


def shelf_for(run: RunDir, database: Where | None) -> BlobShelf:
    """The shelf beside a journal: whoever works on that file has the bytes that its wishes name.

    What the run folder has kept by itself is taken in. A journal on a server has nothing beside it;
    there the run folder's own shelf is used.

    Raises:
        ShelfError: it cannot be made, or has no room.
    """
    file = Address.parse(database or run.fleet).file
    if file is None:
        return BlobShelf(run.shelf)
    shelf = BlobShelf(file.parent / run.shelf.name)
    shelf.take_in(run.shelf)
    return shelf
