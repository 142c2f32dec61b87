"""The host's end of the fleet: devices, measuring jobs, blobs, signed releases (no torch)."""
