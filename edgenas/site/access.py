"""How the host's own commands answer a broker that asks for certificates.

Leaves devices' certificates to the devices, and connecting to `firmware_bridge.wire`.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from edgenas.site.errors import SiteError
from edgenas.site.folder import SiteFolder
from edgenas.site.mosquitto import CLERK, HOST, VIEWER
from firmware_bridge.wire.tls import TlsFiles


class SiteAccess:
    """Certificates of the host and of those who only look, from a broker's folder or a copy."""

    def __init__(self, path: Path) -> None:
        """Take `DIR` as `edgenas broker init` made it, or a copy of `DIR/host`.

        Raises:
            SiteError: It is neither.
        """
        folder = path / "host" if (path / "host").is_dir() else path
        self._files = {name: _files(folder, name) for name in (HOST, VIEWER)}
        missing = [str(p) for name in self._files for p in _paths(folder, name) if not p.exists()]
        if missing:
            raise SiteError(
                f"--tls: expected the folder that `edgenas broker init` made, or a copy of its "
                f"`host`, got {path} without {missing[0]}"
            )
        self._folder = folder
        self.site = SiteFolder(path) if SiteFolder(path).has_authority else None

    @property
    def authority(self) -> bytes:
        """Certificate of the fleet's authority (PEM)."""
        ca = self._files[VIEWER].ca
        assert ca is not None
        return ca.read_bytes()

    def host(self) -> ssl.SSLContext:
        """For whoever speaks for the host."""
        return _context(self._files[HOST])

    def viewer(self) -> ssl.SSLContext:
        """For whoever only looks: pushes no host off its connection."""
        return _context(self._files[VIEWER])

    def clerk(self) -> ssl.SSLContext:
        """For whoever clears what devices have left: pushes no host off its connection.

        Raises:
            SiteError: The folder is from before there was one.
        """
        missing = [path for path in _paths(self._folder, CLERK) if not path.exists()]
        if missing:
            raise SiteError(
                f"--tls: expected the certificate {CLERK}, got a folder without {missing[0]}; run "
                "`edgenas broker init --tls` on the broker's folder once more, which adds it"
            )
        return _context(_files(self._folder, CLERK))


def _paths(folder: Path, name: str) -> tuple[Path, Path, Path]:
    return folder / "ca.pem", folder / f"{name}.pem", folder / f"{name}.key"


def _files(folder: Path, name: str) -> TlsFiles:
    return TlsFiles(*_paths(folder, name))


def _context(files: TlsFiles) -> ssl.SSLContext:
    context = files.context()
    assert context is not None
    return context
