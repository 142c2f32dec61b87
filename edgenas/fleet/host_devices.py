"""The devices of a host: who was seen, who is there, and what people have called them.

Leaves keeping track of them to `roster`, and labels to `label_log`.
"""

from collections.abc import Iterable, Mapping, Sequence

from edgenas.fleet.device_view import DeviceView
from edgenas.fleet.errors import DevicesMissingError
from edgenas.fleet.host_part import HostPart
from edgenas.fleet.selectors import Labels
from firmware_bridge.wire.values import check_device_id


class HostDevices(HostPart):
    """What a `FleetHost` says of devices."""

    def devices(self) -> list[DeviceView]:
        """Every device that was ever seen, by id."""
        with self._changed:
            self._engine.check_alive()
            return self._desks.roster.views()

    def labels(self) -> Labels:
        """What people have called the devices: tags and groups."""
        with self._changed:
            self._engine.check_alive()
            return self._journal.labels.read()

    def settle(self, device_id: str) -> None:
        """Take a device out of quarantine, once a person has parted the boards that used its id."""
        with self._changed:
            self._engine.check_alive()
            self._desks.roster.settle(check_device_id(device_id))
            self._desks.post.resync(device_id)

    def wait_for_devices(self, ids: Iterable[str], timeout_s: float) -> list[DeviceView]:
        """Wait until all these devices are online and have said what they are.

        Returns:
            The devices, in the order of `ids`.

        Raises:
            DevicesMissingError: Some did not come; says which, who is online and what to do.
        """
        wanted = [check_device_id(device_id) for device_id in ids]
        found = self._engine.wait_for(lambda: self._all_there(wanted), timeout_s)
        if found is None:
            raise self._missing(wanted, timeout_s)
        return found

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many unsound messages each device has sent."""
        return dict(self._engine.reception.dropped)

    def _all_there(self, wanted: Sequence[str]) -> list[DeviceView] | None:
        views = [self._desks.roster.view(device_id) for device_id in wanted]
        return views if all(_usable(view) for view in views) else None

    def _missing(self, wanted: Sequence[str], timeout_s: float) -> DevicesMissingError:
        with self._changed:
            absent = [self._desks.roster.view(device_id) for device_id in wanted]
            everyone = self._desks.roster.views()
        online = [view.device_id for view in everyone if view.online]
        missing = [view for view in absent if not _usable(view)]
        named = ", ".join(f"{view.device_id} ({_why_missing(view)})" for view in missing)
        text = (
            f"expected devices {', '.join(wanted)} of fleet {self.fleet!r} within {timeout_s:g} s; "
            f"missing: {named}; online: {', '.join(online) or 'none'}; start `edgenas-device run` "
            f"with --fleet {self.fleet} and that --id on the board, or read its log"
        )
        return DevicesMissingError([view.device_id for view in missing], online, text)


def _usable(view: DeviceView) -> bool:
    return view.online and view.facts is not None


def _why_missing(view: DeviceView) -> str:
    if view.quarantined:
        return "two boards use this id"
    if view.online:
        return "online, but has not said what it is"
    if view.install_id is None:
        return "never seen"
    return view.phase.value
