"""All that blocks on a socket or asks the kernel; read-only."""
