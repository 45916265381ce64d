"""Which queues are a person's business, and which are Celery's own plumbing."""

from __future__ import annotations

import re

from celerytop.model.address import BrokerSettings

_DELAYED = re.compile(r"(?:.+_)?celery_delayed_\d+")
_REPLY = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?:\.reply\..+)?|amq\.gen-.+")
LONGEST = 255
"""Bytes of a queue's name in AMQP."""


def delayed(name: str) -> bool:
    """One of the 28 queues of Celery's native delayed delivery.

    >>> delayed("celery_delayed_27"), delayed("shop_celery_delayed_0"), delayed("celery_delayed")
    (True, True, False)
    """
    return _DELAYED.fullmatch(name) is not None


def plumbing(name: str, settings: BrokerSettings) -> bool:
    """Control, event, reply and delayed queues: counted together, not listed."""
    return (
        name.startswith(f"{settings.event_exchange}.")
        or name.endswith(f".{settings.control_exchange}.pidbox")
        or _REPLY.fullmatch(name) is not None
        or delayed(name)
    )


def pidbox(nodename: str, settings: BrokerSettings) -> str:
    """The queue a worker gets its commands from."""
    return f"{nodename}.{settings.control_exchange}.pidbox"


def node_of(queue: str, settings: BrokerSettings) -> str | None:
    """Whose pidbox it is; ``None``: nobody's.

    Who asks (``celery inspect``, a worker that looks for others as it starts) reads the answers from
    ``<uuid>.reply.celery.pidbox``: that is no worker.

    >>> from celerytop.model.address import Address
    >>> settings = BrokerSettings(Address("rabbitmq", ()))
    >>> [node_of(queue, settings) for queue in ("w1@h.celery.pidbox", "0a77.reply.celery.pidbox", "mail")]
    ['w1@h', None, None]
    """
    ending = f".{settings.control_exchange}.pidbox"
    if not queue.endswith(ending):
        return None
    node = queue.removesuffix(ending)
    return None if node.endswith(".reply") and "@" not in node else node


def speakable(name: str) -> bool:
    """Fits into an AMQP method."""
    return 0 < len(name.encode("utf-8", "surrogatepass")) <= LONGEST
