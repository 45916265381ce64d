"""``python -m celerytop`` is the same as ``celerytop``."""

from __future__ import annotations

from celerytop.cli import main

if __name__ == "__main__":
    main()
