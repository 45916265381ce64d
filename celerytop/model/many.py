"""Values of many keys at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

Value = TypeVar("Value")


def many(items: Mapping[str, Value], ids: Sequence[str]) -> Iterable[Value]:
    """The values of ``ids``, in that order; raises ``KeyError`` as ``items`` does.

    A mapping that is no dict may know a faster way than one by one: it has a method of this name.

    >>> list(many({"a": 1, "b": 2}, ["b", "a"]))
    [2, 1]
    """
    quick = getattr(items, "many", None)
    return map(items.__getitem__, ids) if quick is None else quick(ids)
