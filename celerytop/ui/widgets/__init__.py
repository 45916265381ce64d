"""Widgets that draw only what has changed."""
