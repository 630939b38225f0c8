"""Floor 4: rendering of results and events for people and for scripts."""
