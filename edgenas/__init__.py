"""edgenas: edge deployment with on-device specialization (host side)."""

__version__ = "0.1.0"
