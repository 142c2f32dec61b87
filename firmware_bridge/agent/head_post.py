"""Publishes what `edgenas-device learn --hand-out` puts down, once a session and when it changes.

The message is retained, so that whoever merges heads needs to be there at no particular time; it
holds all that its round knows, so that sending it again changes nothing. Leaves what is in it to
``heads.notebook``.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from firmware_bridge.heads.places import HAND_OUT_SUFFIX, HEADS_NAME
from firmware_bridge.wire.codec import decode
from firmware_bridge.wire.errors import WireError
from firmware_bridge.wire.messages import Contribution
from firmware_bridge.wire.values import RESULT_CAP_BYTES, check_name

_log = logging.getLogger(__name__)


class HeadPost:
    """Watches the folder of heads.

    Args:
        state_dir: The daemon's.
        session: Number of the present session with the broker, None while there is none.
        publish: Takes slot and message.
    """

    def __init__(
        self,
        state_dir: Path,
        session: Callable[[], int | None],
        publish: Callable[[str, bytes], None],
    ) -> None:
        self._folder = state_dir / HEADS_NAME
        self._session = session
        self._publish = publish
        self._seen: tuple[int, int] | None = None

    def tick(self) -> None:
        """One look: a single call to the kernel where nothing has changed."""
        session = self._session()
        if session is None:
            return
        try:
            face = (session, self._folder.stat().st_mtime_ns)  # replacing a file changes its folder
        except FileNotFoundError:
            return
        if face == self._seen:
            return
        for path in sorted(self._folder.glob(f"*{HAND_OUT_SUFFIX}")):
            self._send(path)
        self._seen = face

    def _send(self, path: Path) -> None:
        with path.open("rb") as stream:
            message = stream.read(RESULT_CAP_BYTES + 1)
        try:
            slot = check_name(path.name[: -len(HAND_OUT_SUFFIX)], "slot")
            if not isinstance(decode(message).message, Contribution):
                raise WireError("expected a head, got another message")
        except WireError as error:
            _log.warning("%s: not sent: %s; hand out again", path, error)
            return
        self._publish(slot, message)
