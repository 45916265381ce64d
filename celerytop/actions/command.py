"""One command to named workers, and their answers: the half of acting that needs no socket."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from celerytop.actions.link import Answer, Answers
from celerytop.model.secret import redact_url
from celerytop.sources.wire_fields import decode, is_mapping, name, text

MOST_IDS = 50
"""Task ids in one message. A worker handles a command in its main loop: thousands at once would stop it consuming."""
BODY_LIMIT = 8 * 1024 * 1024
"""Bytes of a reply beyond which it is not opened."""
_nodes = msgspec.json.Decoder(dict[str, msgspec.Raw])
_anything: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


class Question:
    """One command under way. Never a broadcast."""

    def __init__(self, method: str, arguments: Mapping[str, Any], workers: Sequence[str]) -> None:
        """Take it down.

        Raises:
            ValueError: nobody is named, or more than ``MOST_IDS`` ids are: a bug of the caller.
        """
        if isinstance(workers, str) or not workers or not all(workers):
            raise ValueError(f"{method} names no worker: a broadcast is never sent")
        if any(len(value) > MOST_IDS for value in arguments.values() if isinstance(value, list | tuple)):
            raise ValueError(f"{method} has more than {MOST_IDS} ids in one message")
        self.method = method
        self.workers = tuple(dict.fromkeys(workers))
        self.ticket = uuid.uuid4().hex
        self.sent_at = time.time()
        self._arguments = dict(arguments)
        self._answers: dict[str, Answer] = {}

    def body(self, reply_queue: str | None) -> bytes:
        """The command as kombu's Mailbox writes it; replies come through the anonymous exchange, or none does."""
        return msgspec.json.encode(
            {
                "method": self.method,
                "arguments": self._arguments,
                "destination": self.workers,
                "pattern": None,
                "matcher": None,
                "ticket": self.ticket,
                "reply_to": None if reply_queue is None else {"exchange": "", "routing_key": reply_queue},
            }
        )

    def take(self, ticket: str, body: bytes, content_type: str | None) -> None:
        """Take in one reply, whatever it is; one to another ticket, or of a worker that was not asked, is ignored."""
        if ticket != self.ticket:
            return
        nodes = decode(_nodes, body) if len(body) <= BODY_LIMIT and _is_json(content_type) else None
        if nodes is None:
            self._unread(content_type)
            return
        for key, raw in nodes.items():
            nodename = name(key)
            if nodename in self.workers and nodename not in self._answers:
                self._answers[nodename] = _answer(nodename, bytes(raw))

    @property
    def missing(self) -> tuple[str, ...]:
        """Who was asked and has not answered."""
        return tuple(worker for worker in self.workers if worker not in self._answers)

    def answers(self, listening: int | None) -> Answers:
        """What has come so far."""
        return Answers(dict(self._answers), listening, self.sent_at)

    def _unread(self, content_type: str | None) -> None:
        """A reply that names nobody we can read: whose it is is known only when one alone is missing."""
        if len(self.missing) == 1:
            nodename = self.missing[0]
            kind = text(content_type, 80) or "of no type"
            self._answers[nodename] = Answer(nodename, time.time(), error=f"an answer ({kind}) that was not opened")


def _is_json(content_type: str | None) -> bool:
    return content_type is None or content_type.endswith("/json")


def _answer(nodename: str, raw: bytes) -> Answer:
    """``{"ok": ...}`` and ``{"error": ...}`` in words; anything else as its body."""
    body = decode(_anything, raw)
    told = body if is_mapping(body) and len(body) == 1 else {}
    return Answer(nodename, time.time(), ok=_words(told.get("ok")), error=_words(told.get("error")), body=body)


def _words(found: object) -> str | None:
    if found is None:
        return None
    return redact_url(text(found if isinstance(found, str) else repr(found), 400) or "")
