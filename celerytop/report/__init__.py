"""One Snapshot, printed: as JSON (a contract) or as text (for people and tickets)."""
