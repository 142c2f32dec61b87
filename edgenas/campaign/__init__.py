"""Where the torch side and the fleet side meet: train, search on devices, pick, ship, report."""
