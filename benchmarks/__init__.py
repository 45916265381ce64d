"""What celerytop costs and how fast it is, beside its peers: each script starts its own servers and prints a table."""
