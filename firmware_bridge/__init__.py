"""The side of edgenas that a board can run: the shared wire contract, and the agent.

Importing this package costs nothing: it holds no code and imports none. The parts are
imported by their full names, for example ``firmware_bridge.wire.messages``.
"""
