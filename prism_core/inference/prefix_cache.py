"""Keys and values of beginnings that were read before, so that they need not be read again.

A radix tree over token ids (RadixAttention, Zheng et al. 2024), one for each adapter, since an
adapter changes what is kept: a node holds a stretch of tokens with their keys and values, its
children go on from its end. What was used longest ago goes first, leaves before their parents, once
the whole holds more bytes than allowed. A chat turn whose gate flips thus reads its history again
under the other adapter, and a persona is read once a process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import count
from weakref import WeakKeyDictionary

import torch

from prism_core.lora.weights import LoraWeights

PREFIX_BYTES = 256_000_000
"""Memory that one model's kept beginnings may take."""

States = Callable[[int, int], torch.Tensor]
"""Gives a copy of the states from one token up to another, (layers, 2, T, kv heads, head size)."""


@dataclass(eq=False)
class _Node:
    tokens: tuple[int, ...]
    states: torch.Tensor  # (layers, 2, T, kv heads, head size)
    parent: _Node | None
    children: dict[int, _Node] = field(default_factory=dict)  # by their first token
    used: int = 0

    @property
    def size(self) -> int:
        return self.states.numel() * self.states.element_size()


class PrefixCache:
    """The beginnings that one model has read, by adapter."""

    def __init__(self, most_bytes: int = PREFIX_BYTES) -> None:
        self._most = most_bytes
        self._bare = _root()
        self._adapted: WeakKeyDictionary[LoraWeights, _Node] = WeakKeyDictionary()
        self._clock = count(1)
        self.hits = self.asked = 0
        """Tokens that were found, and that were looked for."""

    def find(self, adapter: LoraWeights | None, ids: Sequence[int]) -> torch.Tensor | None:
        """Return the states of the longest known beginning, (layers, 2, T, kv heads, head size)."""
        found = [part for _, part in self._walk(adapter, ids)]
        self.asked += len(ids)
        if not found:
            return None
        states = found[0] if len(found) == 1 else torch.cat(found, dim=2)
        self.hits += states.shape[2]
        return states

    def known(self, adapter: LoraWeights | None, ids: Sequence[int]) -> int:
        """Count the tokens that `ids` begins with and that are known."""
        return sum(part.shape[2] for _, part in self._walk(adapter, ids))

    def add(self, adapter: LoraWeights | None, ids: Sequence[int], states: States) -> None:
        """Keep the beginning `ids`; what is not known yet is asked of `states`."""
        path = list(self._walk(adapter, ids))
        at = sum(part.shape[2] for _, part in path)
        if at == len(ids):
            return
        parent = path[-1][0] if path else self._root(adapter)
        if path and path[-1][1].shape[2] < len(parent.tokens):
            parent = self._split(parent, path[-1][1].shape[2])
        node = _Node(tuple(ids[at:]), states(at, len(ids)), parent, used=next(self._clock))
        parent.children[ids[at]] = node
        self._shrink()

    def clear(self) -> None:
        """Forget everything: the model's weights have changed."""
        self._bare = _root()
        self._adapted.clear()

    @property
    def bytes(self) -> int:
        """Memory that is held now."""
        return sum(node.size for node in self._nodes())

    def _root(self, adapter: LoraWeights | None) -> _Node:
        return self._bare if adapter is None else self._adapted.setdefault(adapter, _root())

    def _walk(
        self, adapter: LoraWeights | None, ids: Sequence[int]
    ) -> Iterator[tuple[_Node, torch.Tensor]]:
        """Yield the nodes that `ids` leads through, each with the states of what is alike."""
        node, at, now = self._root(adapter), 0, next(self._clock)
        while at < len(ids) and (child := node.children.get(ids[at])) is not None:
            alike = _alike(child.tokens, ids, at)
            child.used = now
            yield child, child.states[:, :, :alike]
            if alike < len(child.tokens):
                return
            node, at = child, at + alike

    def _split(self, node: _Node, at: int) -> _Node:
        """Cut a node in two behind its first `at` tokens; return the upper part."""
        assert node.parent is not None
        upper = _Node(node.tokens[:at], node.states[:, :, :at].clone(), node.parent, used=node.used)
        node.parent.children[upper.tokens[0]] = upper
        node.tokens, node.states = node.tokens[at:], node.states[:, :, at:].clone()
        node.parent = upper
        upper.children[node.tokens[0]] = node
        return upper

    def _nodes(self) -> list[_Node]:
        left = [self._bare, *self._adapted.values()]
        found = []
        while left:
            node = left.pop()
            left += node.children.values()
            if node.parent is not None:
                found.append(node)
        return found

    def _shrink(self) -> None:
        nodes = self._nodes()
        held = sum(node.size for node in nodes)
        leaves = [(node.used, id(node), node) for node in nodes if not node.children]
        heapify(leaves)
        while held > self._most and leaves:
            _, _, node = heappop(leaves)
            held -= node.size
            parent = node.parent
            if parent is None:
                continue
            del parent.children[node.tokens[0]]
            if not parent.children and parent.parent is not None:
                heappush(leaves, (parent.used, id(parent), parent))


def _root() -> _Node:
    return _Node((), torch.empty(0), None)


def _alike(tokens: tuple[int, ...], ids: Sequence[int], at: int) -> int:
    """Count the tokens that a node has in common with `ids` from a place on."""
    most = min(len(tokens), len(ids) - at)
    for i in range(most):
        if tokens[i] != ids[at + i]:
            return i
    return most
