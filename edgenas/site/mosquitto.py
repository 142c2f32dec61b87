"""What mosquitto (2.0.11 or later) is told: its configuration and who may say and hear what.

Pure. Every client is who its certificate says, to the letter: common name, user name and client id
are one. Leaves the files to `folder` and the process to `running`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

HOST, VIEWER = "host", "viewer"
CLERK = "host_clerk"  # no device id has an underscore
MAX_PACKET_BYTES = 262_144
# For each client that is away or slow. What a host leaves under way with a thousand devices, two
# results of 64 KiB each, comes back to it in full.
QUEUED_BYTES = 128 * 1024 * 1024

# %u is the name in the certificate; %c would be what the client calls itself.
_RULES = f"""\
# Written by `edgenas broker init`; changes are lost when somebody is revoked.
pattern write edgenas/v1/+/up/%u/#
pattern read edgenas/v1/+/dn/%u/#
pattern read edgenas/v1/+/host/state

user {HOST}
topic read edgenas/v1/+/up/#
topic write edgenas/v1/+/dn/#
topic write edgenas/v1/+/host/state

# Clears what a device that is gone for good has left here (`edgenas fleet forget`), beside a host.
user {CLERK}
topic write edgenas/v1/+/up/+/state
topic write edgenas/v1/+/up/+/facts
topic write edgenas/v1/+/up/+/head/+
topic write edgenas/v1/+/up/+/inventory
topic write edgenas/v1/+/dn/+/wish/+

# Commands that only look, such as `edgenas devices`: beside a host, without pushing it off.
# They may ask a device to sign what it runs.
user {VIEWER}
topic read edgenas/v1/+/up/+/state
topic read edgenas/v1/+/up/+/facts
topic read edgenas/v1/+/up/+/head/+
topic read edgenas/v1/+/up/+/inventory
topic write edgenas/v1/+/dn/+/inspect
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the broker listens and what it runs as.

    Attributes:
        folder: Everything it reads and writes.
        port: TCP port.
        bind: Address to listen on, empty for all.
        user: Account that it changes to when it is started by root.
    """

    folder: Path
    port: int
    bind: str
    user: str


def configuration(place: Place) -> str:
    """The text of `mosquitto.conf`.

    Without `max_queued_messages 0` a thousand messages are queued and the others dropped that were
    acknowledged; with `max_queued_bytes` that begins where one device would fill the memory of the
    broker, and loses nothing: a device sends a result again until the host itself has it, and the
    rest is retained. Without `set_tcp_nodelay` every chunk of a model waits for a delayed
    acknowledgement.
    """
    folder = place.folder
    lines = (
        "# Written by `edgenas broker init`; put settings of your own into another file.",
        "per_listener_settings false",
        f"listener {place.port} {place.bind}".rstrip(),
        "tls_version tlsv1.2",
        f"cafile {folder / 'ca.pem'}",
        f"certfile {folder / 'server.pem'}",
        f"keyfile {folder / 'server.key'}",
        f"crlfile {folder / 'crl.pem'}",
        "require_certificate true",
        "use_identity_as_username true",
        "use_username_as_clientid true",
        "allow_anonymous false",
        "allow_zero_length_clientid false",
        "check_retain_source true",
        f"acl_file {folder / 'acl'}",
        f"max_packet_size {MAX_PACKET_BYTES}",
        "max_queued_messages 0",
        f"max_queued_bytes {QUEUED_BYTES}",
        "set_tcp_nodelay true",
        "persistence true",
        f"persistence_location {folder / 'data'}/",
        "persistent_client_expiration 30d",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "log_type notice",
        f"user {place.user}",
    )
    return "\n".join(lines) + "\n"


def access_rules(denied: Collection[str]) -> str:
    """The text of the ACL file.

    A list of revoked certificates keeps nobody off who is connected already; for those, what is
    denied by name counts from the next reload on.

    Args:
        denied: Devices whose certificates were all revoked.
    """
    shut_out = "".join(f"\nuser {name}\ntopic deny #\n" for name in sorted(denied))
    return _RULES + shut_out
