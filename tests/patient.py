"""celerytop with an hour of patience, ``python -m tests.patient``: what waits for something that never comes is seen.

A test that it does not wait needs no clock then, and a slow machine changes nothing: whoever waits never ends.
"""

from __future__ import annotations

import sys

HOUR = 3600.0
PATIENT = [sys.executable, "-m", "tests.patient"]
ENDLESS = [*PATIENT, "endless"]
"""And as long passes between the two looks of the first picture."""


def main() -> None:
    """All that it waits for at most becomes an hour, but the moment it spends on threads that no broker answers."""
    from celerytop import cli, watch
    from celerytop.monitor import runners
    from celerytop.monitor.monitor import Monitor
    from celerytop.sources.redis import connection
    from celerytop.ui import driver, run

    watch.PATIENCE = cli._LEAVING = driver._PATIENCE = run._GIVE_UP = HOUR
    runners.RETRY_AFTER, runners.REFUSED_AFTER = (HOUR,) * 4, (HOUR,) * 3
    connection._ALL, connection.connect.__defaults__ = HOUR, (connection.CLIENT_NAME, HOUR)
    Monitor.stop.__defaults__ = (HOUR,)
    if sys.argv[1] == "endless":
        del sys.argv[1]
        watch._BETWEEN = HOUR
    cli.main()


if __name__ == "__main__":
    main()
