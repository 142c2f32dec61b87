"""What kinds of board there are and how to measure on each: one TOML file a kind.

Read on the host only, by ``device_profiles.loader``; a board learns its settings from its jobs.
"""
