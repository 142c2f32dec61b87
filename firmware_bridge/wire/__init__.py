"""The contract between a host and its boards, written once and imported by both.

Topics, messages, codec, statistics, blob transfer, signatures and the link to the broker.
Everything here is standard library on Python 3.10 or newer, with two exceptions that are
each confined to one module: ``mqtt`` needs paho-mqtt, ``signing`` uses cryptography.
Measuring, storing and deciding are left to the agent and to the host.
"""
