"""Measures a model on this board: real latency and memory of real bytes, in child processes.

``supervise`` is the daemon's side, ``worker`` the child's. Fetching the bytes, queueing jobs and
reporting are left to the agent; statistics over samples to ``firmware_bridge.wire.statistics``.
"""
