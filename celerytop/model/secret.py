"""Hide passwords and what looks like one: in URLs, in settings, in task arguments."""

from __future__ import annotations

import re

MASK = "***"
_KEY = r"pass(?:word|wd|phrase)?|pwd|secret|token|api_?key|auth|credential|card(?:_?number)?|cvv|private_?key|\w*_key"
_URL = re.compile(r"(?P<head>[A-Za-z][A-Za-z0-9+.\-]*://[^\s:/@;,'\"]*:)(?P<secret>[^\s/'\";,]*)@")
_QUERY = re.compile(rf"(?P<head>[?&;](?:\w*(?:{_KEY})\w*)=)[^&;\s'\"]+", re.IGNORECASE)
_NAMED = re.compile(
    rf"""(?P<head>['"]?\b\w*(?:{_KEY})\w*['"]?\s*[:=]\s*)(?P<value>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^,\s)}}\]]+)""",
    re.IGNORECASE,
)
_CARD = re.compile(r"(?<![\w.])\d(?:[ \-]?\d){12,18}(?![\w.])")


def redact_url(text: str) -> str:
    """Mask every password in every URL inside ``text``, and query values named like secrets.

    >>> redact_url("amqp://u:a@h//;amqp://u2:p2@h2//"), redact_url("redis://:p@h/0?password=x&db=1")
    ('amqp://u:***@h//;amqp://u2:***@h2//', 'redis://:***@h/0?password=***&db=1')
    """
    text = _URL.sub(lambda found: f"{found['head']}{MASK}@", text)
    return _QUERY.sub(lambda found: f"{found['head']}{MASK}", text)


def mask_args(text: str) -> str:
    """Mask what looks like a secret in an argument list: values of telling names, card numbers, URL passwords.

    >>> mask_args("{'user': 'ann', 'password': 'x y', 'n': 4111111111111111}")
    "{'user': 'ann', 'password': ***, 'n': ***}"
    """
    text = _NAMED.sub(lambda found: f"{found['head']}{MASK}", text)
    return _CARD.sub(MASK, redact_url(text))


def secret_name(key: str) -> bool:
    """Whether a setting of this name holds a secret.

    >>> secret_name("broker_password"), secret_name("task_acks_late")
    (True, False)
    """
    return re.search(rf"(?:{_KEY})", key, re.IGNORECASE) is not None
