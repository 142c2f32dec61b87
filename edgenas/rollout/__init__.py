"""Rolling releases out to a fleet in waves: plan, gates, decisions, and what carries them out."""
