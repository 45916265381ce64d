"""Actions on a Redis broker. The only package beside sources.redis that speaks to it."""
