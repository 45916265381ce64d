"""Values: what is known of a cluster, frozen; no clock, no input or output."""
