"""Hide passwords and what looks like one: in URLs, in settings, in task arguments."""

from __future__ import annotations

import re

MASK = "***"
_SECRET = re.compile(
    r"pass(?:word|wd|phrase)?|pwd|secret|token|api_?key|auth|credential|card(?:_?number)?|cvv|private_?key|_key",
    re.IGNORECASE,
)
_SAID = frozenset({"password", "passwd", "secret", "token"})
"""In a sentence only these words and a colon: ``CardError: declined`` tells what happened, not a card."""
_URL = re.compile(r"(?P<head>[A-Za-z][A-Za-z0-9+.\-]{0,30}://[^\s:/@;,'\"]*:)(?P<secret>[^\s/'\";,]*)@")
# Names are bounded and judged by a function: patterns with a name inside would be slow on hostile text.
_QUERY = re.compile(r"(?P<head>[?&;](?P<name>\w{1,64})=)[^&;\s'\"]+")
_NAMED = re.compile(
    r"""(?P<head>(?P<quote>['"]?)\b(?P<name>\w{1,64})(?P=quote)\s{0,4}(?P<sign>[:=])\s{0,4})"""
    r"""(?P<value>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^,\s)}\]'"]+)"""
)
_CARD = re.compile(r"(?<![\w.])\d(?:[ \-]?\d){12,18}(?![\w.])")


def redact_url(text: str) -> str:
    """Mask every password in every URL inside ``text``, and query values named like secrets.

    >>> redact_url("amqp://u:a@h//;amqp://u2:p2@h2//"), redact_url("redis://:p@h/0?password=x&db=1")
    ('amqp://u:***@h//;amqp://u2:***@h2//', 'redis://:***@h/0?password=***&db=1')
    """
    text = _URL.sub(lambda found: f"{found['head']}{MASK}@", text)
    return _QUERY.sub(lambda found: f"{found['head']}{MASK}" if secret_name(found["name"]) else found[0], text)


def mask_args(text: str) -> str:
    """Mask what looks like a secret in an argument list: values of telling names, card numbers, URL passwords.

    >>> mask_args("{'user': 'ann', 'password': 'x y', 'n': 4111111111111111}")
    "{'user': 'ann', 'password': ***, 'n': ***}"
    """
    text = _NAMED.sub(_masked, text)
    return _CARD.sub(MASK, redact_url(text))


def _masked(found: re.Match[str]) -> str:
    told = found["quote"] or found["sign"] == "="
    secret = secret_name(found["name"]) if told else found["name"].lower() in _SAID
    return f"{found['head']}{MASK}" if secret else found[0]


def secret_name(key: str) -> bool:
    """Whether a setting of this name holds a secret.

    >>> secret_name("broker_password"), secret_name("task_acks_late")
    (True, False)
    """
    return _SECRET.search(key) is not None
