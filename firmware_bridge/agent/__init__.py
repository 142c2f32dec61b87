"""The daemon: one inbox, one main loop, one worker; nothing runs on the network thread."""
