"""What is asked of Redis: all events, or, for moments in which not even reading can keep up, what shows workers only.

Redis cuts a subscriber off that lets more than 32 MB wait. How much it holds it tells nobody but who may ask CLIENT
LIST, and the socket hides it: on a slow network that is often empty while Redis holds ever more. But a PING is answered
behind all that waits. So while much comes one is always under way, and what is read before its answer was held when
Redis got it. Rejected: how full the socket is (4 MB at most, and Redis fills it up again 64 KB at a time), the age of
events (by whose clock?), the time that reading takes (as long for one burst as for a flood that goes on).

Who has read a good third of what Redis lets wait and still has no answer asks for less, on the same connection: task
events are unsubscribed, all that is still held is read, most of it is folded, and then they are asked for again for
five milliseconds. When what these bring can be read in a quarter of that time, three times in a row, all is as before;
else there is another such look when that is folded. So a flood is seen in samples, none of them long enough to fill
Redis' buffer (1 GB/s: 5 MB).
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from typing import Any

import redis

from celerytop.sources.redis.stream import PONG_REFUSED, Stream

ASK = 1 << 20
"""Bytes between an answer and the next PING: a stream of 1,000 events/s is asked every two seconds."""
LOSING = 12 << 20
"""Bytes read without an answer. At 1 GB/s as many come meanwhile, and the kernel holds some 6 MB of all that."""
WARY, WARY_FOR = 3, 10.0
"""A part of that is too much for so many seconds after the last flood, which may not be over."""
MOST = 400 << 20
"""Bytes a second beyond which a flood is not read on, though it could be: a busy machine lets us wait for 80 ms now and
then, and Redis' 32 MB are full by then. 400,000 events/s are 220 MB."""
_WHILE = 0.1
"""Seconds for which more must come, so that it is no burst."""
LOOK = 0.005
"""Seconds of a look."""
EASY = 256 << 20
"""Bytes a second that a look may bring, for all to be asked for again."""
_LOOKS = 3
"""Looks in a row that must bring no more than can be read: what floods us may have had no turn of the CPU itself."""
_LITTLE = 256 * 1024
"""Bytes in a look that can always be read: 100,000 events/s."""
_SPARE = 4
"""How many times faster than it comes a flood must be read to be asked for again: the rest is folding and hiccups."""
_NEEDED = re.compile("'ping|unsubscribe")
"""Commands without which none of this works; SUBSCRIBE, or its channels, an account may do without."""
_SAY = ("heartbeat", "online", "offline")


class Subscription:
    """The patterns of one stream, and whether they are subscribed now. At first they are."""

    def __init__(self, stream: Stream, patterns: Sequence[str], bases: Sequence[str]) -> None:
        """``patterns`` have been subscribed; ``bases``: the channels, to which Celery adds a routing key."""
        self.stream = stream
        self._patterns = tuple(patterns)
        # SUBSCRIBE, not a narrower pattern: an ACL compares patterns as strings, and channels by its own patterns
        self._workers = tuple(f"{base}/worker.{what}" for base in bases for what in _SAY)
        self.wide = True
        """All events are asked for."""
        self._mixed = False
        """Not only what came by the patterns may be read: less is asked for, or was when it came."""
        self._silent = False
        """The account may not SUBSCRIBE."""
        self._asked = 0
        """PINGs sent."""
        self._answers: tuple[Any, ...] = ()
        """To the last one."""
        self._waits = False
        """For one of them."""
        self._read = 0
        """Bytes since the last PING was sent."""
        self._since = time.monotonic()
        """When bytes began to be counted, so that we know how many come a second."""
        self._counted = 0
        self._took = 0.0
        """Seconds spent on reading them."""
        self._looked: float | None = None
        """Seconds the last look was open, until it is judged."""
        self._easy = 0
        """Looks in a row that brought no more than can be read."""
        self._narrow_at = -math.inf
        self._not_read = 0.0

    @property
    def deaf(self) -> bool:
        """Nothing is asked for now, not even what workers say of themselves: this account may not."""
        return self._silent and not self.wide

    @property
    def drained(self) -> bool:
        """Less is asked for, and all that Redis held has been read."""
        return not self.wide and not self._waits

    @property
    def behind(self) -> bool:
        """Redis holds more than usual, or held it lately."""
        return not self.wide or (self._waits and self._read > ASK)

    def read(self, timeout: float) -> Sequence[Any]:
        """As ``Stream.read``; what came over a channel looks as what came by a pattern.

        Raises:
            redis.RedisError: as ``Stream.read``.
            OSError: as ``Stream.read``.
        """
        began = time.monotonic()
        messages = self.stream.read(timeout)
        self._read += self.stream.size
        self._took += time.monotonic() - began
        waited = self._waits
        if self._mixed:
            messages = [one for one in map(self._sort, messages) if one is not None]
        elif waited:  # in 0.02 us a message; to sort them takes 0.2
            self._waits = self._answers[1] not in messages and PONG_REFUSED not in messages
        if waited and not self._waits:
            self._answered()
        if self.wide:
            self._watch()
        return messages

    def narrow(self) -> None:
        """Ask for less."""
        self._send(("PUNSUBSCRIBE", *self._patterns), *self._of_workers("SUBSCRIBE"), *self._ping())
        self.wide, self._mixed = False, True
        self._looked, self._narrow_at = None, time.monotonic()

    def look(self) -> None:
        """Ask for all for a moment. What that brings is read next, and says whether to go on so."""
        self._widen()
        opened = time.monotonic()
        time.sleep(LOOK)
        self.narrow()
        self._looked = self._narrow_at - opened

    def not_read(self) -> float:
        """Seconds in which task events were not asked for, since this was called last."""
        if not self.wide:
            now = time.monotonic()
            self._not_read += now - self._narrow_at
            self._narrow_at = now
        told, self._not_read = self._not_read, 0.0
        return told

    def _watch(self) -> None:
        now = time.monotonic()
        if now - self._since > _WHILE:
            self._since, self._counted = now, 0
        self._counted += self.stream.size
        losing = LOSING // WARY if now < self._narrow_at + WARY_FOR else LOSING
        if (self._waits and self._read >= losing) or self._counted > MOST * _WHILE:
            self.narrow()
        elif not self._waits and self._read >= ASK:
            self._send(*self._ping())

    def _answered(self) -> None:
        """All that was held when the PING came has been read."""
        self._mixed = not self.wide
        if self._looked is not None:
            self._easy = self._easy + 1 if self._read <= _LITTLE or self._readable(self._looked) else 0
            if self._easy >= _LOOKS:
                self._easy, self._mixed = 0, True
                self._widen(*self._ping())
        self._looked, self._read = None, 0

    def _readable(self, looked: float) -> bool:
        """What came in the look can be read in a fraction of that time, and Redis' 32 MB would last for a while."""
        return self._read <= EASY * looked and _SPARE * self._took <= looked

    def _widen(self, *more: tuple[str, ...]) -> None:
        self._send(*self._of_workers("UNSUBSCRIBE"), ("PSUBSCRIBE", *self._patterns), *more)
        self._since, self._counted = time.monotonic(), 0
        self._not_read += self._since - self._narrow_at
        self.wide = True

    def _of_workers(self, word: str) -> tuple[tuple[str, ...], ...]:
        return () if self._silent else ((word, *self._workers),)

    def _send(self, *commands: tuple[str, ...]) -> None:
        """All at once, so that Redis serves nobody else between them."""
        self.stream.send_all(commands)

    def _ping(self) -> tuple[tuple[str, str]]:
        self._asked += 1
        word = str(self._asked)
        self._answers = (word.encode(), [b"pong", word.encode()])  # the first where nothing is subscribed
        self._waits, self._read, self._took = True, 0, 0.0
        return (("PING", word),)

    def _sort(self, one: Any) -> Any:
        """An event or an error; ``None``: nothing that anybody else should see."""
        if one in self._answers or one == PONG_REFUSED:
            self._waits = False
            return None
        if isinstance(one, redis.exceptions.NoPermissionError) and not _NEEDED.search(str(one)):
            self._silent = True
            return None
        if isinstance(one, list) and len(one) == 3:
            return [b"pmessage", b"", *one[1:]] if one[0] == b"message" else None
        return one
