"""A `top` for Celery clusters: what is stuck, why, and how to stop it."""

__version__ = "0.1.0"
