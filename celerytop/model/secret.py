"""Hide passwords and what looks like one: in URLs, in settings, in task arguments."""

from __future__ import annotations

import re

MASK = "***"
_SECRET = re.compile(
    r"pass(?:word|wd|phrase)?|pwd|secret|token|api[_\- ]?key|auth|credential|card(?:_?number)?|cvv"
    r"|private[_\- ]?key|_key|signature",
    re.IGNORECASE,
)
_SAID = frozenset({"password", "passwd", "secret", "token", "authorization"})
"""In a sentence only these words and a colon: ``CardError: declined`` tells what happened, not a card."""
_URL = re.compile(r"(?P<head>[A-Za-z][A-Za-z0-9+.\-]{0,30}://[^\s:/@;,'\"]*:)(?P<secret>[^\s/'\";,]*)@")
# Names are bounded and judged by a function: patterns with a name inside would be slow on hostile text.
_QUERY = re.compile(r"(?P<head>[?&;](?P<name>[\w\-]{1,64})=)[^&;\s'\"]+")
_NAME = re.compile(
    r"""(?:(?P<quote>\\{0,8}['"])(?P<quoted>\w[\w.\- ]{0,63})(?P=quote)|(?<![\w\-])(?P<bare>[\w\-]{1,64}))"""
    r"""\s{0,4}(?P<sign>[:=])\s{0,4}"""
)
_OPEN_QUOTE = re.compile(r"""[bBuUrR]{0,2}(\\{0,8}['"])""")
_TO_QUOTE = {quote: re.compile(rf"(?:[^{quote}\\]|\\.)*{quote}", re.DOTALL) for quote in ("'", '"')}
_OPEN_BRACKET = re.compile(r"[\w.]{0,64}[\[({]")
_QUOTE_OR_BRACKET = re.compile(r"""['"\[({\])}]""")
_WORD = re.compile(r"""(?:(?:Bearer|Basic|Token)\s{1,4})?[^,\s)}\]'"]+""", re.IGNORECASE)
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}-----|$)", re.DOTALL)
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
    shown: list[str] = []
    at = 0
    while (found := _NAME.search(text, at)) is not None:
        shown.append(text[at : found.end()])
        at = found.end()
        if _names_secret(found) and (end := _value_end(text, at)) > at:
            shown.append(MASK)
            at = end
    masked = "".join(shown) + text[at:]
    return _PRIVATE_KEY.sub(MASK, _CARD.sub(MASK, redact_url(masked)))


def _names_secret(found: re.Match[str]) -> bool:
    if found["quote"]:
        return secret_name(found["quoted"])
    return secret_name(found["bare"]) if found["sign"] == "=" else found["bare"].lower() in _SAID


def _value_end(text: str, at: int) -> int:
    """Where the value that begins at ``at`` ends: a string, a list, a call, a word; cut off, at the end of the text."""
    if (opened := _OPEN_QUOTE.match(text, at)) is not None:
        return _quote_end(text, opened.end(), opened[1])
    if (opened := _OPEN_BRACKET.match(text, at)) is not None:
        return _bracket_end(text, opened.end())
    word = _WORD.match(text, at)
    return word.end() if word is not None else at


def _quote_end(text: str, at: int, quote: str) -> int:
    if len(quote) > 1:  # JSON inside a repr: a backslash and a quote begin and end it
        end = text.find(quote, at)
        return len(text) if end < 0 else end + len(quote)
    closed = _TO_QUOTE[quote].match(text, at)
    return len(text) if closed is None else closed.end()


def _bracket_end(text: str, at: int) -> int:
    depth = 1
    while depth:
        found = _QUOTE_OR_BRACKET.search(text, at)
        if found is None:
            return len(text)
        at = found.end()
        if found[0] in _TO_QUOTE:
            at = _quote_end(text, at, found[0])
        else:
            depth += 1 if found[0] in "[({" else -1
    return at


def secret_name(key: str) -> bool:
    """Whether a setting of this name holds a secret.

    >>> secret_name("broker_password"), secret_name("task_acks_late")
    (True, False)
    """
    return _SECRET.search(key) is not None
