"""One file, one page or one screen."""
