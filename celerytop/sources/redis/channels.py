"""Names of the pub/sub channels kombu makes of a fanout exchange on Redis."""

from __future__ import annotations

import re

from celerytop.model.address import BrokerSettings

DEFAULT_PREFIX = "/{db}."


def channels(settings: BrokerSettings, exchange: str, db: int | None = None) -> tuple[str, ...]:
    """Channels of ``exchange``, without a routing key; ``db`` is the settings' unless told.

    Pub/sub knows no databases: the number is part of the name. Under sentinel, kombu before 5.4 forgot to fill it in,
    so both forms are in use side by side.

    >>> from celerytop.model.address import Address
    >>> channels(BrokerSettings(Address("redis", (), db=4), global_keyprefix="px:"), "celeryev")
    ('px:/4.celeryev',)
    >>> channels(BrokerSettings(Address("redis", (), db=4, sentinel=True)), "celery.pidbox")
    ('/4.celery.pidbox', '/{db}.celery.pidbox')
    """
    prefix = DEFAULT_PREFIX if settings.fanout_prefix is None else settings.fanout_prefix
    forms = [prefix.replace("{db}", str(settings.address.db if db is None else db))]
    if settings.address.sentinel and "{db}" in prefix:
        forms.append(prefix)
    return tuple(f"{settings.global_keyprefix}{form}{exchange}" for form in forms)


def literal(name: str) -> str:
    r"""``name`` as a glob pattern that matches itself alone.

    >>> literal("px[1]:celeryev")
    'px\\[1\\]:celeryev'
    """
    return re.sub(r"([\\*?\[\]])", r"\\\1", name)
