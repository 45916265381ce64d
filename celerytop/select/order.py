"""Put rows in order; what is not known comes last."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any, TypeVar

R = TypeVar("R")


def ordered(rows: Iterable[R], key: Callable[[R], Any], reverse: bool = False, limit: int | None = None) -> list[R]:
    """Sort ``rows`` by ``key``, those whose key is ``None`` last either way; equal ones keep their order.

    >>> ordered([3, None, 1], lambda n: n), ordered([3, None, 1], lambda n: n, reverse=True, limit=2)
    ([1, 3, None], [3, 1])
    """
    known: list[tuple[Any, R]] = []
    unknown: list[R] = []
    for row in rows:
        value = key(row)
        if value is None:
            unknown.append(row)
        else:
            known.append((value, row))
    if limit is None or limit * 8 > len(known):
        known.sort(key=itemgetter(0), reverse=reverse)
    else:
        known = (heapq.nlargest if reverse else heapq.nsmallest)(limit, known, key=itemgetter(0))
    found = [row for _, row in known] + unknown
    return found if limit is None else found[:limit]
