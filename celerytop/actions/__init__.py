"""The only package that writes to the cluster. It says what it saw, never what was merely answered."""
