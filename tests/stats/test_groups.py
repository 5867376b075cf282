"""Rows that share a topic: areas and rates whose intervals count topics."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import rankdata

from prism_core.stats import average_precision, confusion, rate, rate_of, roc_auc
from prism_core.stats.rates import grouped_rate

TOPICS = 12


def rows(
    rng: np.random.Generator, topics: int, size: int, kind: float, shift: float
) -> tuple[NDArray, NDArray, NDArray]:
    """Draw rows whose label (spread `kind`) and score (spread 1) lean with their topic."""
    where = np.repeat(np.arange(topics), size)
    leaning, height = rng.normal(0, kind, topics)[where], rng.normal(0, 1, topics)[where]
    labels = rng.random(len(where)) < expit(leaning)
    return where, labels, height + shift * labels + rng.normal(0, 1, len(where))


def area(labels: NDArray, scores: NDArray) -> float:
    wins = int(labels.sum())
    ranks = rankdata(scores)[labels].sum() - wins * (wins + 1) / 2
    return float(ranks / wins / (len(labels) - wins))


@pytest.mark.slow
@pytest.mark.parametrize(("size", "kind", "shift"), [(5, 1.0, 1.0), (10, 1.5, 1.0), (8, 3.0, 1.0)])
def test_areas_and_rates_of_twelve_topics(size: int, kind: float, shift: float) -> None:
    rng = np.random.default_rng(1)
    _, labels, scores = rows(rng, 20_000, 20, kind, shift)
    truths = {"auc": area(labels, scores), "rate": float(labels.mean())}
    order = np.argsort(-scores)
    hits = np.cumsum(labels[order])
    truths["ap"] = float((hits / np.arange(1, len(hits) + 1))[labels[order]].mean())
    held: dict[str, list[bool]] = {}
    for _ in range(1_000):
        where, labels, scores = rows(rng, TOPICS, size, kind, shift)
        for name, truth, found in (
            ("auc, DeLong", truths["auc"], roc_auc(labels, scores)),
            ("auc", truths["auc"], roc_auc(labels, scores, groups=where)),
            ("rate, Wilson", truths["rate"], rate_of(labels)),
            ("rate", truths["rate"], rate_of(labels, where)),
            ("ap", truths["ap"], average_precision(labels, scores, groups=where)),
        ):
            if found.low is not None and found.high is not None:
                held.setdefault(name, []).append(found.low <= truth <= found.high)
    shown = {name: float(np.mean(values)) for name, values in held.items()}
    print(f"{TOPICS} topics of {size}, spread {kind}: {shown}")
    assert 0.93 <= shown["auc"] <= 0.97 and 0.93 <= shown["rate"] <= 0.98
    assert 0.92 <= shown["ap"] <= 0.98
    assert shown["auc, DeLong"] < 0.93 and shown["rate, Wilson"] < 0.93


def test_a_grouped_rate_by_hand() -> None:
    # Topics of 2: 2, 2, 0 and 0 hits. Rate 4/8; parts (2-1, 2-1, 0-1, 0-1) / 8, squares 4/64,
    # times 4/3: variance 1/12, so 0.25 * 12 = 3 independent trials, and t[3] = 3.182446 leaves
    # 3 * (1.959964 / 3.182446)^2 = 1.137866.
    found = grouped_rate([2, 2, 0, 0], [2, 2, 2, 2])
    half = 1.959964**2 / 1.137866
    spread = 1.959964 * np.sqrt(0.25 / 1.137866 + half / (4 * 1.137866)) / (1 + half)
    assert (found.value, found.n) == (0.5, 8)
    assert found.high == pytest.approx(0.5 + spread, abs=1e-4)


def test_topics_of_one_row_are_independent_rows() -> None:
    outcomes = [True, False, True, True]
    assert rate_of(outcomes, "abcd") == rate(3, 4)
    labels, scores = [True, False, True, False, True, False], [0.9, 0.8, 0.7, 0.4, 0.6, 0.1]
    assert roc_auc(labels, scores, groups="abcdef") == roc_auc(labels, scores)


def test_a_topic_is_one_trial_where_nothing_varies_and_one_topic_says_nothing() -> None:
    assert grouped_rate([3, 3], [3, 3]).low == rate(2, 2).low
    assert grouped_rate([2], [3]).low is None
    assert grouped_rate([], []).value is None
    perfect = roc_auc([True] * 9 + [False] * 9, [1.0] * 9 + [0.0] * 9, groups="aaabbbccc" * 2)
    assert perfect.low == rate(3, 3).low
    assert roc_auc([True, False, True, False], [0.9, 0.1, 0.2, 0.3], groups="aaaa").low is None


def test_a_confusion_keeps_its_topics() -> None:
    found = confusion([1, 1, 0, 0], [1, 0, 1, 0], groups=["a", "b", "a", "b"])
    assert found.by_group == ((1, 1, 0, 0), (0, 0, 1, 1))
    assert found.share_opened == grouped_rate([2, 0], [2, 2])
    assert found.precision.n == 2 and found.recall.value == 0.5
