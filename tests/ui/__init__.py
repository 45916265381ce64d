"""The screen, by Pilot over a still feed and in real terminals."""
