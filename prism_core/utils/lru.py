"""A bounded mapping that forgets what was used longest ago."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LRU(Generic[K, V]):
    """Keeps the `capacity` entries that were used last. Safe to share among threads."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._kept: OrderedDict[K, V] = OrderedDict()
        self._guard = threading.Lock()

    def __contains__(self, key: K) -> bool:
        """Whether the key is kept; looking does not count as use."""
        with self._guard:
            return key in self._kept

    def get(self, key: K) -> V | None:
        """Return the value of a key, or None where it is not kept."""
        with self._guard:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: K, value: V) -> None:
        """Keep a value, and let go of what was used longest ago if there are too many."""
        with self._guard:
            self._kept[key] = value
            self._kept.move_to_end(key)
            while len(self._kept) > self._capacity:
                self._kept.popitem(last=False)

    def pop(self, key: K) -> None:
        """Forget a key, if it is kept."""
        with self._guard:
            self._kept.pop(key, None)

    def get_or_make(self, key: K, make: Callable[[], V]) -> V:
        """Return the value of a key, made now where it is not kept.

        Nothing is locked while it is made: two threads that ask at once may both make it.
        """
        found = self.get(key)
        if found is None:
            found = make()
            self.put(key, found)
        return found
