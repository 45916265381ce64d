"""Threads, retries, pictures, actions: the only package with ``Thread`` and with ``except Exception``."""

from celerytop.monitor.monitor import Monitor

__all__ = ["Monitor"]
