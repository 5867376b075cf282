"""Hold queries out by group, so that no question is learnt and then examined.

Queries of one sub-topic stay together, and so does the same text wherever it appears. The parts of
a split get their share of positive and of negative rows as nearly as whole groups allow.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from prism_core.errors import InputError
from prism_core.prism.records import Query


def group_of(queries: Sequence[Query]) -> list[int]:
    """Number the group of each query: joined by sub-topic, and by text but for case and blanks.

    A query without a sub-topic is joined by its text alone.
    """
    parent = list(range(len(queries)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[tuple[str, str], int] = {}
    for i, query in enumerate(queries):
        for kind, text in (("subtopic", query.subtopic), ("text", query.text)):
            key = " ".join(text.casefold().split())
            if key:
                parent[root(i)] = root(first.setdefault((kind, key), i))
    numbers: dict[int, int] = {}
    return [numbers.setdefault(root(i), len(numbers)) for i in range(len(queries))]


def split_by_group(
    groups: Sequence[int], labels: Sequence[bool], shares: Sequence[float], seed: int
) -> list[int]:
    """Assign each row to a part; no group is ever divided.

    Large groups are placed first, each where the parts' shares of both labels come closest to
    what was asked for.

    `groups` and `labels` have one entry a row; the seed decides among equally large groups.

    Raises:
        InputError: a share is not above 0, or they do not sum to 1.
    """
    if not shares or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise InputError(f"The shares {list(shares)} must all be above 0 and sum to 1.")
    totals = Counter(labels)
    members: dict[int, Counter[bool]] = {}
    for group, label in zip(groups, labels, strict=True):
        members.setdefault(group, Counter())[label] += 1
    order = sorted(members)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda g: -sum(members[g].values()))
    filled = [dict.fromkeys(totals, 0.0) for _ in shares]
    place: dict[int, int] = {}
    for group in order:
        gain = {label: members[group][label] / totals[label] for label in totals}
        costs = [_cost(filled[p], gain, share) for p, share in enumerate(shares)]
        chosen = costs.index(min(costs))
        place[group] = chosen
        for label, more in gain.items():
            filled[chosen][label] += more
    return [place[group] for group in groups]


def _cost(filled: dict[bool, float], gain: dict[bool, float], share: float) -> float:
    """Return by how much a group moves a part away from its share, both labels together."""
    return sum(
        ((filled[label] + more - share) ** 2 - (filled[label] - share) ** 2) / share
        for label, more in gain.items()
    )
