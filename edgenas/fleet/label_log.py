"""What people have called devices: tags, and selectors saved as groups; the newest row counts.

Leaves what a selector picks to `selectors`.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import insert, select

from edgenas.database.connection import Database
from edgenas.database.schema import DEVICE_GROUPS, DEVICE_TAGS
from edgenas.fleet.audit_log import AuditLog
from edgenas.fleet.selectors import Labels

_ADD_TAG = insert(DEVICE_TAGS)
_ADD_GROUP = insert(DEVICE_GROUPS)
_TAGS = select(DEVICE_TAGS.c.device_id, DEVICE_TAGS.c.tag, DEVICE_TAGS.c.present).order_by(
    DEVICE_TAGS.c.position
)
_GROUPS = select(DEVICE_GROUPS.c.name, DEVICE_GROUPS.c.selector).order_by(DEVICE_GROUPS.c.position)


class LabelLog:
    """Rows are only added; each change is audited with it."""

    def __init__(self, database: Database, audit: AuditLog) -> None:
        self._database = database
        self._audit = audit

    def read(self) -> Labels:
        """All labels as they are now."""
        tags: dict[str, set[str]] = {}
        for device_id, tag, present in self._database.rows(_TAGS):
            of_it = tags.setdefault(device_id, set())
            (of_it.add if present else of_it.discard)(tag)
        groups = {row[0]: row[1] for row in self._database.rows(_GROUPS)}
        return Labels(
            {device_id: frozenset(found) for device_id, found in tags.items() if found},
            {name: text for name, text in groups.items() if text is not None},
        )

    def tag(
        self, device_ids: Iterable[str], tags: Iterable[str], wall_ms: int, *, present: bool
    ) -> list[str]:
        """Give tags to devices, or take them away.

        Returns:
            The devices that this has changed.
        """
        changed = []
        with self._database.transaction():
            labels, wanted = self.read(), set(tags)
            for device_id in device_ids:
                has = labels.of(device_id)
                new = sorted(wanted - has if present else wanted & has)
                for tag in new:
                    row = {"device_id": device_id, "tag": tag, "present": int(present)}
                    self._database.change(_ADD_TAG, {**row, "wall_ms": wall_ms})
                if new:
                    changed.append(device_id)
                    action = "device.tagged" if present else "device.untagged"
                    self._audit.add(action, device_id, wall_ms, {"tags": new})
        return changed

    def set_group(self, name: str, selector: str | None, wall_ms: int) -> bool:
        """Save a selector under a name, or with None forget it; False if nothing changed."""
        with self._database.transaction():
            if self.read().groups.get(name) == selector:
                return False
            row = {"name": name, "selector": selector, "wall_ms": wall_ms}
            self._database.change(_ADD_GROUP, row)
            action = "group.saved" if selector is not None else "group.removed"
            self._audit.add(action, name, wall_ms, {"selector": selector})
        return True
