"""Builds the Debian packages of the device; run as `python -m scripts.deb.build`."""
