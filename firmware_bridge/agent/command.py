"""`edgenas-device run`: the daemon as a foreground process that logs to stderr.

SIGTERM and SIGINT shut it down cleanly. Leaves everything between start and stop to the daemon.
"""

import argparse
import logging
import signal
import sys
from functools import partial

from firmware_bridge.agent import settings
from firmware_bridge.agent.assembly import Assembly
from firmware_bridge.agent.inbox import Stop
from firmware_bridge.wire.errors import BridgeError
from firmware_bridge.wire.mqtt import MqttLink
from firmware_bridge.wire.tls import TlsFiles

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
FAILED, MISUSED = 1, 2

add_arguments = settings.add_arguments


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal comes; returns 0 after a clean end, 2 if it cannot start, 1 if
    its journal is found damaged: the next start begins a new one."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format=LOG_FORMAT)
    try:
        chosen = settings.read_settings(arguments)
        tls = TlsFiles(chosen.tls_ca, chosen.tls_cert, chosen.tls_key).context()
        link = MqttLink(chosen.broker, chosen.device_id, tls=tls)
        assembly = Assembly(chosen, link, partial(setattr, link, "tls"))
    except (BridgeError, OSError) as error:
        print(f"edgenas-device: {error}", file=sys.stderr)
        return MISUSED
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: assembly.inbox.put(Stop()))
    try:
        assembly.daemon.run()
    except BridgeError as error:
        print(f"edgenas-device: {error}; start it again", file=sys.stderr)
        return FAILED
    finally:
        assembly.close()
    return 0
