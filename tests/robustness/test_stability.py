"""The persona stability score on examples worked out by hand, and the lottery beside it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from prism_core.errors import InputError, StatisticsError
from prism_core.personas.pool import load_pool, part_of
from prism_core.progress import Progress
from prism_core.rl.tasks import FAMILIES, draw_items
from prism_core.robustness.lottery import _choice, _search, persona_lottery
from prism_core.robustness.persona_table import StabilityConfig, measure_table
from prism_core.robustness.stability import (
    PersonaAccuracy,
    StabilityTable,
    measure,
    stability_scores,
)
from prism_core.types import Completion


def stability_score(accuracies: list[float]) -> float:
    return float(stability_scores(np.array([accuracies]))[0])


@pytest.mark.parametrize(
    ("accuracies", "score"),
    [
        # All alike: the smaller of any two is that value. Evenly bad stays bad.
        ([0.6, 0.6, 0.6], 0.6),
        ([0.1, 0.1], 0.1),
        ([1.0, 1.0, 1.0], 1.0),
        ([0.0, 0.0], 0.0),
        # One pair (1, 0): the smaller is 0, though the mean is 1/2.
        ([1.0, 0.0], 0.0),
        # Pairs of 0.9, 0.6, 0.3: min 0.6, 0.3, 0.3, mean 1.2 / 3 = 0.4.
        ([0.9, 0.6, 0.3], 0.4),
        # The same mean 0.6, but more even: pairs 0.6, 0.5, 0.5, mean 1.6 / 3.
        ([0.7, 0.6, 0.5], 1.6 / 3),
        # Pairs of 0.8, 0.8, 0.8, 0.2: three of 0.8, three of 0.2, mean 3 / 6 = 0.5.
        ([0.8, 0.8, 0.8, 0.2], 0.5),
    ],
)
def test_the_score_by_hand(accuracies: list[float], score: float) -> None:
    assert stability_score(accuracies) == pytest.approx(score)
    pairs = [min(a, b) for a, b in itertools.combinations(accuracies, 2)]
    assert stability_score(accuracies) == pytest.approx(sum(pairs) / len(pairs))


def test_it_is_the_mean_times_one_minus_gini() -> None:
    values = np.array([0.2, 0.35, 0.5, 0.9])
    # Gini over different pairs: mean absolute difference / (2 x mean).
    gaps = [abs(a - b) for a, b in itertools.combinations(values, 2)]
    gini = np.mean(gaps) / (2 * values.mean())
    assert stability_score(values.tolist()) == pytest.approx(values.mean() * (1 - gini))


def test_no_persona_that_gets_better_lowers_it() -> None:
    draw = np.random.default_rng(0)
    for _ in range(200):
        values = draw.random(5) * 0.9
        better = values.copy()
        better[draw.integers(5)] += 0.1
        assert stability_score(better.tolist()) >= stability_score(values.tolist()) - 1e-12


def test_what_it_cannot_score_it_refuses() -> None:
    with pytest.raises(StatisticsError, match="at least two"):
        measure(table([[0.5, 0.5]]))
    with pytest.raises(StatisticsError, match="two items"):
        measure(table([[0.5], [0.5]]))
    with pytest.raises(InputError, match="between 0 and 1"):
        measure(table([[0.5, 0.5], [0.5, 1.2]]))


def table(rows: list[list[float]], neutral: list[float] | None = None) -> StabilityTable:
    items = tuple(f"i{k}" for k in range(len(rows[0])))
    parts = ("train", "held_out")
    people = tuple(
        PersonaAccuracy(f"p{n}", "helpful", parts[n % 2], tuple(row)) for n, row in enumerate(rows)
    )
    return StabilityTable(
        "model", items, PersonaAccuracy("", None, None, tuple(neutral or rows[0])), people
    )


def test_the_companions_by_hand() -> None:
    # Four items; accuracies 1, 3/4, 1/4: mean 2/3, spread 3/4, worst p2, pairs 3/4, 1/4, 1/4.
    found = measure(table([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]], [1, 1, 0, 0]))
    assert found.score.value == pytest.approx((0.75 + 0.25 + 0.25) / 3)
    assert found.mean.value == pytest.approx(2 / 3)
    assert (found.worst_name, found.worst.value) == ("p2", 0.25)
    assert (found.best_name, found.best.value) == ("p0", 1.0)
    assert found.spread.value == pytest.approx(0.75)
    assert found.neutral.value == 0.5
    assert found.score.low is not None and found.score.high is not None
    assert 0 <= found.score.low <= found.score.value <= found.score.high <= 1


def test_the_held_out_part_alone() -> None:
    rows = [[1.0] * 6, [0.0] * 6, [1.0] * 6, [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]]
    # Held out are p1 (0) and p3 (1/2): the smaller is 0.
    assert measure(table(rows), "held_out").score.value == 0.0
    assert measure(table(rows), "train").score.value == 1.0


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    # Personas' true accuracies are uniform on (0.3, 0.9): E min of two = 0.3 + 0.6 / 3 = 0.5.
    draw = np.random.default_rng(1)
    hits = 0
    for trial in range(60):
        truth = draw.uniform(0.3, 0.9, size=12)
        rows = (draw.random((12, 60)) < truth[:, None]).astype(float).tolist()
        score = measure(table(rows), seed=trial).score
        assert score.low is not None and score.high is not None
        hits += score.low <= 0.5 <= score.high
    assert hits >= 50  # 57 are expected at 95 %


def test_a_search_that_cannot_know_gains_nothing_and_one_that_can_does() -> None:
    # p1 is right everywhere, p0 and the neutral prompt nowhere: two tries always find p1.
    rows = persona_lottery(table([[0.0] * 8, [1.0] * 8], [0.0] * 8))
    assert [r.k for r in rows] == [1, 2]
    assert rows[0].searched.value == pytest.approx(0.5)  # one try finds it half the time
    assert rows[1].searched.value == pytest.approx(1.0)
    assert rows[1].gain.value == pytest.approx(1.0)
    assert rows[1].expected_best.value == pytest.approx(1.0)
    assert rows[1].questions == 2 * 4


def test_the_best_on_noise_is_not_better_elsewhere() -> None:
    # All personas are right half the time. The best of 8 looks good where it was chosen, and is
    # worth 1/2 on other items: 30 tables of 8 x 40 have a standard error of about 0.015.
    best, elsewhere = [], []
    for trial in range(30):
        draw = np.random.default_rng(trial)
        rows = (draw.random((8, 40)) < 0.5).astype(float)
        best.append(rows.mean(axis=1).max())
        elsewhere.append(_search(rows, rows[0], draw, halvings=10)[-1, 0])
    assert np.mean(best) > 0.58
    assert abs(np.mean(elsewhere) - 0.5) < 0.05


def test_ties_are_broken_by_lot() -> None:
    # Of 0.5, 0.5, 0.2 the best of 2: a pair with the last persona takes the other one.
    # Pairs: (0,1) -> lot, (0,2) -> 0, (1,2) -> 1: probabilities 1/2, 1/2, 0.
    assert _choice(np.array([0.5, 0.5, 0.2]), 2).tolist() == pytest.approx([0.5, 0.5, 0.0])


class Oracle:
    """Right on every question, unless its persona is careless: then it is silent."""

    name, fingerprint, has_system_role = "oracle", "oracle", True

    def __init__(self) -> None:
        self.answers = {
            i.question: i.reference for i in draw_items(FAMILIES["needle"], 0, "held_out", 20, 0)
        }
        self.calls = 0

    def generate(self, prompts, sampling, seed=0, *, cancel=None):
        self.calls += 1
        careless = prompts[0][0].role == "system" and "careless" in prompts[0][0].content
        return [Completion("" if careless else self.answers[p[-1].content]) for p in prompts]


def test_a_table_is_asked_once_and_graded() -> None:
    pool = load_pool()
    found = measure_table(StabilityConfig(items=20), Oracle(), pool, Progress())
    by_name = {p.name: sum(p.correct) / 20 for p in found.personas}
    assert by_name["careless"] == 0.0
    assert all(v == 1.0 for n, v in by_name.items() if n != "careless")
    # 11 of 12 personas are perfect: C(11, 2) of C(12, 2) pairs have the minimum 1.
    assert measure(found).score.value == pytest.approx(55 / 66)


def test_the_shipped_pool_has_every_attitude_in_both_parts() -> None:
    pool = load_pool()
    for part in ("train", "held_out"):
        assert {p.attitude for p in part_of(pool, part)} == {"helpful", "irrelevant", "harmful"}
    assert not {p.text for p in part_of(pool, "train")} & {
        p.text for p in part_of(pool, "held_out")
    }
