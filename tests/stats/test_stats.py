"""Known answers for every statistic: by hand (arithmetic in comments), scipy, statsmodels."""

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy import stats as sp
from scipy.special import expit, logit
from statsmodels.stats import contingency_tables, multitest, multivariate, proportion, weightstats

from prism_core.errors import InputError, StatisticsError
from prism_core.stats import (
    Confusion,
    ItemScores,
    Pairs,
    against_oracle,
    average_precision,
    best_threshold,
    calibration,
    confusion,
    confusion_at,
    expected_best_of,
    group_interaction,
    holm,
    interaction,
    item_scores,
    joint_region,
    mcnemar_power,
    mean_of,
    noninferiority,
    order_consistency,
    pair,
    paired_difference,
    paired_p,
    pearson,
    precision_recall_curve,
    rate,
    rate_of,
    roc_auc,
    roc_curve,
    smallest_detectable,
    spearman,
)
from prism_core.stats.proportions import tango
from prism_core.stats.significance import sign_p
from prism_core.types import Estimate, Verdict


def names(n, start=0):
    return tuple(f"q{i:05d}" for i in range(start, start + n))


def make_pairs(treatment, control=None, start=0):
    control = [0.0] * len(treatment) if control is None else control
    items = names(len(treatment), start)
    return Pairs(items, tuple(map(float, treatment)), tuple(map(float, control)))


def normal(n, mean=0.0, seed=0):
    return np.random.default_rng(seed).normal(mean, 1.0, n).tolist()


# ---------------------------------------------------------------- rates


def test_wilson_by_hand():
    # p = 8/10, z = 1.959964, z^2 = 3.841459
    # centre = (p + z^2/2n) / (1 + z^2/n) = (0.8 + 0.192073) / 1.384146 = 0.716740
    # half = z * sqrt(p(1-p)/n + z^2/4n^2) / (1 + z^2/n)
    #      = 1.959964 * sqrt(0.016 + 0.009604) / 1.384146 = 0.226577
    found = rate(8, 10)
    assert found.value == 0.8
    assert found.low == pytest.approx(0.716740 - 0.226577, abs=2e-6)
    assert found.high == pytest.approx(0.716740 + 0.226577, abs=2e-6)


@pytest.mark.parametrize(("k", "n"), [(0, 7), (7, 7), (31, 60)])
def test_wilson_against_statsmodels(k, n):
    low, high = proportion.proportion_confint(k, n, alpha=0.05, method="wilson")
    found = rate(k, n)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-12), pytest.approx(high))


def test_a_rate_of_nothing_is_undefined():
    assert rate(0, 0) == Estimate(None, None, None, 0)
    assert rate_of([]).value is None
    assert str(rate(0, 0)) == "not defined (n=0)"


@pytest.mark.parametrize(("k", "n"), [(-1, 5), (6, 5), (1.5, 5)])
def test_impossible_counts_are_refused(k, n):
    with pytest.raises(InputError, match=str(k)):
        rate(k, n)


def test_order_consistency_counts_verdicts_that_agree():
    agree, split = Verdict("persona", 0.9, 0.8), Verdict("tie", 0.9, 0.2)
    found = order_consistency([agree, agree, agree, split])
    assert found.value == 0.75  # 3 of 4
    assert found.low == rate(3, 4).low


# ---------------------------------------------------------------- items and means


def test_repeats_are_averaged_inside_their_item():
    # b: (1 + 0 + 1) / 3 = 2/3, a: 0 -> mean over the two items 1/3; over the four rows it is 1/2.
    scores = item_scores(["b", "a", "b", "b"], [1, 0, 0, 1])
    assert scores == ItemScores(("a", "b"), (0.0, 2 / 3))
    assert mean_of(scores.means).value == pytest.approx(1 / 3)
    assert mean_of(scores.means).n == 2


def test_repeating_every_row_does_not_narrow_the_interval():
    values = normal(30)
    once = item_scores(names(30), values)
    ten_times = item_scores(names(30) * 10, values * 10)
    assert mean_of(ten_times.means).low == pytest.approx(mean_of(once.means).low)


def test_the_order_of_rows_does_not_matter():
    values = normal(40)
    rows = list(zip(names(40), values, strict=True))
    backwards = list(zip(*reversed(rows), strict=True))
    assert item_scores(*backwards) == item_scores(names(40), values)


def test_pairing_keeps_shared_items_and_counts_the_rest():
    found = pair(item_scores(["a", "b", "c"], [1, 2, 3]), item_scores(["d", "c", "b"], [9, 1, 1]))
    assert found == Pairs(("b", "c"), (2.0, 3.0), (1.0, 1.0), left_out=2)
    assert found.differences.tolist() == [1.0, 2.0]


def test_arms_without_a_shared_item_are_refused():
    with pytest.raises(InputError, match="'a' and 'b'"):
        pair(item_scores(["a"], [1]), item_scores(["b"], [1]))


def test_a_missing_score_is_refused_where_it_enters():
    with pytest.raises(InputError, match=r"scores\[1\] is nan"):
        item_scores(["a", "b"], [1.0, None])
    with pytest.raises(InputError, match="items has 1 rows but scores has 2"):
        item_scores(["a"], [1.0, 2.0])


@pytest.mark.parametrize("n", [2, 19, 60, 2_001])
def test_scores_use_students_t(n):
    values = normal(n)
    low, high = weightstats.DescrStatsW(values).tconfint_mean(alpha=0.05)
    found = mean_of(values)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_students_t_by_hand():
    # 1, 2, 3: mean 2, s = 1, s.e. = 1/sqrt(3) = 0.577350, t[0.975; 2] = 4.302653
    found = mean_of([1, 2, 3])
    assert found.high == pytest.approx(2 + 4.302653 * 0.577350, abs=1e-5)


def test_one_item_or_none():
    assert mean_of([]) == Estimate(None, None, None, 0)
    assert mean_of([0.4]) == Estimate(0.4, None, None, 1)


def test_items_all_alike_have_no_interval_unless_the_bounds_are_known():
    assert mean_of([1.0] * 30) == Estimate(1.0, None, None, 30)
    # All 30 right: u = Wilson's upper end for 0 of 30 = z^2 / (n + z^2) = 3.841459 / 33.841459
    # = 0.113513; low = 1 - u * (1 - 0), which is Wilson's own interval for 30 of 30.
    found = mean_of([1.0] * 30, bounds=(0, 1))
    assert found.low == pytest.approx(1 - 0.113513, abs=1e-6)
    assert found.low == pytest.approx(rate(30, 30).low)
    assert found.high == 1.0
    # Two arms that agree on all 30 items: the difference 0 may be off by u * 1 in either direction.
    same = paired_difference(make_pairs([1] * 30, [1] * 30), bounds=(0, 1))
    assert (same.value, same.low, same.high) == (
        0.0,
        pytest.approx(-0.113513, abs=1e-6),
        pytest.approx(0.113513, abs=1e-6),
    )


def test_rounding_is_not_spread():
    values = [0.1 + 0.2 - 0.3] * 15 + [0.0] * 15  # 5.6e-17 and 0
    assert mean_of(values).low is None


def test_bounds_clip_the_interval_and_refuse_what_lies_outside():
    assert mean_of([1, 0.9, 0.8, 0.1], bounds=(0, 1)).high == 1.0
    assert mean_of([1, 0.9, 0.8, 0.1]).high > 1.0
    with pytest.raises(InputError, match="outside the bounds"):
        mean_of([0, 7], bounds=(0, 1))
    with pytest.raises(InputError, match="below the second"):
        mean_of([0, 1], bounds=(1, 0))


def test_paired_difference_is_narrower_than_unpaired_arms():
    # The items' difficulty (sd 5) cancels; what is left is the effect 0.5 with sd 1.
    difficulty = 5 * np.array(normal(60, seed=1))
    treated = difficulty + 0.5 + np.array(normal(60, seed=2))
    found = paired_difference(make_pairs(treated, difficulty))
    assert found.value == pytest.approx(np.mean(treated - difficulty))
    assert found.low > 0 and found.high - found.low < 0.6
    alone = mean_of(treated.tolist())
    assert alone.high - alone.low > 2.0


def test_right_and_wrong_have_wilsons_interval():
    found = mean_of([1.0] * 31 + [0.0] * 29, bounds=(0, 1))
    assert (found.low, found.high) == (pytest.approx(rate(31, 60).low), rate(31, 60).high)


def test_tangos_interval_is_every_difference_that_the_score_test_does_not_reject():
    # Tango (1998), section 2: (b - c - n D) / sqrt(n (2 q + D (1 - D))), q the larger root of
    # 2 n q^2 + (-b - c + (2 n - b + c) D) q - c D (1 - D) = 0.
    up, down, n = 12, 5, 40
    for end in tango(up, down, n):
        roots = np.roots([2 * n, -up - down + (2 * n - up + down) * end, -down * end * (1 - end)])
        spread = math.sqrt(n * (2 * roots.max() + end * (1 - end)))
        assert abs(up - down - n * end) / spread == pytest.approx(1.959964, abs=1e-6)
    pairs = make_pairs([1] * 12 + [0] * 28, [0] * 12 + [1] * 5 + [0] * 23)
    found = paired_difference(pairs, bounds=(0, 1))
    assert (found.value, found.low, found.high) == (7 / 40, *tango(up, down, n))
    assert paired_difference(make_pairs([1] * 9), bounds=(0, 1)).high == pytest.approx(1)


@pytest.mark.parametrize("n", [20, 38, 60, 500])
def test_where_exact_mcnemar_rejects_the_interval_leaves_out_zero(n):
    for up in range(n + 1):
        # The most even outcome that is rejected; any less even one lies further out.
        rejected = [down for down in range(min(up, n - up) + 1) if sign_p(up, down) < 0.05]
        if rejected:
            assert tango(up, max(rejected), n)[0] > 0


def test_few_changes_of_several_sizes_count_as_so_many_of_a_typical_size():
    # Six of 30 items change: 1, 1, 1/2, 1/2, 1/2, -1/2. sum|d| = 4, sum d^2 = 3, sum d = 3;
    # a typical change is 3/4, 16/3 items change by it, net 3 / (3/4) = 4: up 14/3, down 2/3.
    values = [1, 1, 0.5, 0.5, 0.5, -0.5] + [0] * 24
    found = mean_of(values, bounds=(-1, 1))
    low, high = tango(14 / 3, 2 / 3, 30)
    assert (found.low, found.high) == (pytest.approx(0.75 * low), pytest.approx(0.75 * high))
    # A score that is mostly 1 is mirrored: 1 - score is mostly 0.
    marks = mean_of([1.0] * 16 + [0.5, 0.2, 0.8, 0.4], bounds=(0, 1))
    losses = mean_of([0.0] * 16 + [0.5, 0.8, 0.2, 0.6], bounds=(0, 1))
    assert (marks.low, marks.high) == (
        pytest.approx(1 - losses.high),
        pytest.approx(1 - losses.low),
    )


# ---------------------------------------------------------------- interactions


def test_interaction_is_the_difference_of_paired_differences():
    # long: (3-1, 5-2) = (2, 3); short: (2-1, 2-2) = (1, 0) -> contrasts 1 and 3, mean 2
    long, short = make_pairs([3, 5], [1, 2]), make_pairs([2, 2], [1, 2])
    found = interaction(long, short)
    assert (found.value, found.n) == (2.0, 2)
    low, high = weightstats.DescrStatsW([1.0, 3.0]).tconfint_mean()
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_interaction_on_other_items_needs_the_group_form():
    with pytest.raises(InputError, match="share no item"):
        interaction(make_pairs([1, 2]), make_pairs([1, 2], start=50))


def test_group_interaction_by_hand():
    # 0.30 [0.10, 0.45] - 0.10 [0.00, 0.20]: 0.20,
    # low = 0.2 - sqrt(0.20^2 + 0.10^2) = 0.2 - 0.223607, high = 0.2 + sqrt(0.15^2 + 0.10^2)
    found = group_interaction(Estimate(0.3, 0.1, 0.45, 30), Estimate(0.1, 0.0, 0.2, 25))
    assert found.value == pytest.approx(0.2)
    assert found.low == pytest.approx(-0.023607, abs=1e-6)
    assert found.high == pytest.approx(0.2 + 0.180278, abs=1e-6)
    assert found.n == 25


def test_group_interaction_close_to_welch_on_large_groups():
    one, two = normal(3_000, 0.5, seed=1), normal(2_500, seed=2)
    low, high = weightstats.CompareMeans.from_data(one, two).tconfint_diff(usevar="unequal")
    found = group_interaction(mean_of(one), mean_of(two))
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_group_interaction_without_a_value():
    nothing = Estimate(None, None, None, 0)
    assert group_interaction(nothing, Estimate(0.1, 0.0, 0.2, 9)) == nothing


# ---------------------------------------------------------------- tests and Holm


def test_exact_mcnemar_by_hand():
    # 6 better, 1 worse, 5 the same. Of 7 coin flips, P(6 or more) = (7 + 1) / 128 = 1/16;
    # two-sided 1/8 = 0.125.
    pairs = make_pairs([1] * 6 + [0] + [1] * 5, [0] * 6 + [1] + [1] * 5)
    found = paired_p(pairs)
    assert found == pytest.approx(0.125)
    table = [[5, 6], [1, 0]]
    expected = contingency_tables.mcnemar(table, exact=True).pvalue
    assert found == pytest.approx(expected)


def test_no_items_no_p_and_no_difference_p_of_one():
    assert paired_p(make_pairs([])) is None
    assert paired_p(make_pairs([1, 0, 1], [1, 0, 1])) == 1.0
    assert paired_p(make_pairs([1, 0, 0])) == 1.0  # one coin flip proves nothing


def test_few_changes_flip_all_their_signs():
    # Differences 1, 2, 3, 4: of 2^4 = 16 flips only +++++ and ----- reach |sum| = 10: p = 2/16.
    assert paired_p(make_pairs([1, 2, 3, 4])) == pytest.approx(2 / 16)
    # 3, -1, 2 (sum 4). All 8 sums: 6 4 2 0 and their negatives, each once: |sum| >= 4 are 4 of 8.
    assert paired_p(make_pairs([3, -1, 2, 0, 0])) == pytest.approx(4 / 8)
    values = normal(13, 0.6)
    exact = sp.permutation_test(
        (np.array(values), np.zeros(13)),
        lambda a, b, axis: (a - b).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=10_000,
    )
    assert paired_p(make_pairs(values)) == pytest.approx(exact.pvalue)


def test_many_changes_use_students_t_and_few_of_many_the_flips_limit():
    values = normal(25, 0.4)
    assert paired_p(make_pairs(values)) == pytest.approx(sp.ttest_1samp(values, 0).pvalue)
    spread = normal(20, 0.5)
    z = sum(spread) / math.sqrt(sum(v * v for v in spread))
    found = paired_p(make_pairs([*spread, *[0.0] * 40]))
    assert found == pytest.approx(2 * sp.norm.sf(abs(z)))


def test_holm_by_hand_and_against_statsmodels():
    # sorted .01 .02 .03 .04 times 4 3 2 1 = .04 .06 .06 .04 -> non-decreasing .04 .06 .06 .06
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx((0.06, 0.04, 0.06, 0.06))
    p_values = np.random.default_rng(0).uniform(0, 0.3, 20).tolist()
    expected = multitest.multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(tuple(expected))


def test_holm_leaves_out_what_was_not_tested():
    assert holm([0.01, None, 0.04]) == (pytest.approx(0.02), None, pytest.approx(0.04))
    assert holm([]) == ()
    with pytest.raises(InputError, match=r"1\.5"):
        holm([1.5])


# ---------------------------------------------------------------- non-inferiority and planning


@pytest.mark.parametrize(
    ("low", "high", "n", "verdict"),
    [
        (-0.04, 0.02, 60, "non-inferior"),  # all of it above -0.05
        (-0.20, -0.06, 60, "inferior"),  # all of it below -0.05
        (-0.06, 0.30, 60, "inconclusive"),  # holds -0.05
        (-0.05, 0.30, 60, "inconclusive"),  # touches it
        (-0.04, 0.02, 19, "too few items"),
        (None, None, 60, "inconclusive"),
    ],
)
def test_noninferiority_verdicts(low, high, n, verdict):
    found = noninferiority(Estimate(-0.01, low, high, n), 0.05)
    assert found == verdict


def test_not_significant_is_not_non_inferior():
    # A loss of 0.1 with sd 1 on 40 items: the interval holds 0, and it holds -0.05 as well.
    values = np.array(normal(40, seed=4))
    difference = mean_of((values - values.mean() - 0.1).tolist())
    assert difference.low < 0 < difference.high
    assert noninferiority(difference, 0.05) == "inconclusive"


@pytest.mark.parametrize("delta", [0.2, 0.35, 0.5, 0.8])
def test_noninferiority_is_the_one_sided_t_test(delta):
    values = normal(15, -0.1, seed=2)
    p = weightstats.DescrStatsW(values).ttest_mean(-delta, alternative="larger")[1]
    # A verdict needs 20 items, so say that there are as many.
    found = noninferiority(replace(mean_of(values), n=20), delta)
    assert (found == "non-inferior") == (p < 0.025)


@pytest.mark.parametrize("delta", [0.0, -0.1, math.nan])
def test_a_margin_must_be_above_zero(delta):
    with pytest.raises(InputError, match="delta"):
        noninferiority(Estimate(0.0, -0.1, 0.1, 60), delta)


def test_power_by_hand():
    # 6 items, all of which change, and each for the better with 0.9: (0.9 + 1) / 2 = 0.95.
    # Only 6 of 6 has p = 2/64 < 0.05: power = 0.95^6 + 0.05^6.
    assert mcnemar_power(6, 0.9, 1.0) == pytest.approx(0.95**6 + 0.05**6)
    # With two comparisons p = 2 * 2/64 is too much, and nothing is ever found.
    assert mcnemar_power(6, 0.9, 1.0, comparisons=2) == 0.0
    # Without an effect it is the false alarms: never above 5 %.
    assert 0 < mcnemar_power(60, 0.0, 0.3) < 0.05


def test_the_normal_approximation_promised_too_much():
    # 24 items, 92 cells, four categories: alpha / 368 takes 14 changed items, all for the better.
    assert mcnemar_power(24, 0.39, 0.2, comparisons=368) == pytest.approx(
        sp.binom.sf(13, 24, 0.39), abs=0.001
    )
    assert smallest_detectable(24, 0.2, comparisons=368).effect == pytest.approx(0.645)


def test_below_the_minimum_there_is_no_number():
    few = smallest_detectable(19, 0.2)
    assert few.effect is None and few.words == "no verdict possible: fewer than 20 items"
    # 20 of 20 changed: p = 2 / 2^20 = 1.9e-6, times 100,000 comparisons 0.19.
    none = smallest_detectable(20, 0.2, comparisons=100_000)
    assert none.effect is None and "ask more items" in none.words


def test_planning_refuses_the_impossible():
    with pytest.raises(InputError, match="disagreement is 0"):
        mcnemar_power(20, 0.1, 0)
    with pytest.raises(InputError, match="n is 0"):
        smallest_detectable(0, 0.2)


# ---------------------------------------------------------------- joint region


def correlated(n=40):
    rng = np.random.default_rng(9)
    return rng.multivariate_normal([0.3, -0.2], [[1.0, 0.6], [0.6, 2.0]], n)


def test_every_point_of_the_outline_has_hotelling_p_of_one_minus_level():
    data = correlated()
    found = joint_region(make_pairs(data[:, 0]), make_pairs(data[:, 1]))
    for corner in found.outline():
        assert multivariate.test_mvmean(data, corner).pvalue == pytest.approx(0.05, abs=1e-9)
    assert found.holds(found.x, found.y) is True
    assert found.holds(found.x + 10, found.y) is False


def test_axes_and_angle_by_hand():
    # x = y + small noise across: points (1,1) (-1,-1) (.5,-.5) (-.5,.5), means 0.
    # var = (1 + 1 + .25 + .25) / 3 = 0.8333 each, cov = (1 + 1 - .25 - .25) / 3 = 0.5
    # covariance of means = that / 4: eigenvalues 1.3333/4 and 0.3333/4, direction 45 degrees
    # scale = 2 * 3 / 2 * F[0.95; 2, 2] = 3 * 19 = 57: major = sqrt(19) and minor = sqrt(4.75)
    found = joint_region(make_pairs([1, -1, 0.5, -0.5]), make_pairs([1, -1, -0.5, 0.5]))
    assert (found.x, found.y, found.n) == (0.0, 0.0, 4)
    assert found.major == pytest.approx(math.sqrt(19))
    assert found.minor == pytest.approx(math.sqrt(4.75))
    assert found.angle == pytest.approx(math.pi / 4)


def test_effects_on_other_items_are_independent():
    # The same numbers on different items: covariance 0. The variances of the means are
    # 2.5/3/4 for x and four times that for y, so the long axis is upright and twice as long.
    x, y = [1, -1, 0.5, -0.5], [2, -2, -1, 1]
    found = joint_region(make_pairs(x), make_pairs(y, start=100))
    assert found.angle == pytest.approx(math.pi / 2)
    assert found.major == pytest.approx(2 * found.minor)
    assert found.minor == pytest.approx(math.sqrt(57 * 2.5 / 3 / 4))


def test_partly_shared_items_share_part_of_the_covariance():
    # x on items 0-3, y on items 2-5: items 2, 3 are shared with x = (1, 3) and y = (0, 4),
    # whose covariance is 4. Covariance of the means = 2 shared * 4 / (4 * 4) = 0.5.
    # var x of (0, 4, 1, 3) = 10/3, of the mean 10/12; y = (0, 4, 1, 3) alike.
    # Equal variances: 45 degrees, eigenvalues 10/12 +- 0.5; scale 57 for n = 4.
    found = joint_region(make_pairs([0, 4, 1, 3]), make_pairs([0, 4, 1, 3], start=2))
    assert found.angle == pytest.approx(math.pi / 4)
    assert found.major == pytest.approx(math.sqrt(57 * (10 / 12 + 0.5)))
    assert found.minor == pytest.approx(math.sqrt(57 * (10 / 12 - 0.5)))


def test_no_spread_or_few_items_no_region():
    flat = joint_region(make_pairs([0, 0, 0, 0]), make_pairs([1, 2, 3, 5]))
    assert (flat.x, flat.y, flat.major) == (0, 2.75, None)
    assert (flat.outline(), flat.holds(0, 0)) == ((), None)
    assert joint_region(make_pairs([1, 2]), make_pairs([2, 1])).major is None
    line = joint_region(make_pairs([1, 2, 3, 4]), make_pairs([2, 4, 6, 8]))
    assert line.minor is None
    assert joint_region(make_pairs([]), make_pairs([])).x is None


# ---------------------------------------------------------------- correlation


def test_pearson_against_scipy_and_by_hand():
    # x = 1 2 3 4, y = 1 3 2 4: sums of squares 5 and 5, cross product 4 -> r = 0.8
    # z = atanh(0.8) = 1.098612, s.e. = 1/sqrt(1): tanh(1.098612 +- 1.959964)
    found = pearson([1, 2, 3, 4], [1, 3, 2, 4])
    assert found.value == pytest.approx(0.8)
    assert found.low == pytest.approx(math.tanh(1.098612 - 1.959964), abs=1e-6)
    x, y = normal(30, seed=1), normal(30, seed=2)
    expected = sp.pearsonr(x, y).confidence_interval()
    found = pearson(x, y)
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_spearman_is_pearson_of_ranks_with_a_wider_interval():
    # The same points are their own ranks: rho = 0.8, s.e. = sqrt(1 + 0.32) = 1.148913
    found = spearman([1, 20, 300, 4000], [1, 3, 2, 4])
    assert found.value == pytest.approx(0.8)
    assert found.high == pytest.approx(math.tanh(1.098612 + 1.959964 * 1.148913), abs=1e-6)


@pytest.mark.parametrize("correlate", [pearson, spearman])
def test_correlations_that_are_not_defined(correlate):
    assert correlate([1, 2, 3, 4], [5, 5, 5, 5]) == Estimate(None, None, None, 4)
    assert correlate([1, 2], [1, 2]).value is None
    perfect = correlate([1, 2, 3, 4, 5], [2, 4, 6, 8, 10])
    assert perfect.value == pytest.approx(1.0)
    assert perfect.low is None
    with pytest.raises(InputError, match="x has 2 rows"):
        correlate([1, 2], [1, 2, 3])


# ---------------------------------------------------------------- ranking

LABELS = [True, False, True, True, False]
SCORES = [0.9, 0.8, 0.7, 0.4, 0.2]


def test_roc_curve_and_area_by_hand():
    # Falling threshold: + - + + -: true rate 1/3 1/3 2/3 1 1, false rate 0 1/2 1/2 1/2 1
    curve = roc_curve(LABELS, SCORES)
    assert curve.true_positive_rate == pytest.approx((0, 1 / 3, 1 / 3, 2 / 3, 1, 1))
    assert curve.false_positive_rate == pytest.approx((0, 0, 0.5, 0.5, 0.5, 1))
    assert curve.thresholds == (math.inf, *SCORES)
    # Pairs won: 0.9 beats both, 0.7 and 0.4 beat one each: 4 of 6
    assert roc_auc(LABELS, SCORES).value == pytest.approx(4 / 6)
    area = np.trapezoid(curve.true_positive_rate, curve.false_positive_rate)
    assert area == pytest.approx(4 / 6)


def test_ties_count_half():
    # Positive 0.5 against negatives 0.5 (half) and 0.1 (one): 1.5 / 2
    assert roc_auc([1, 0, 0], [0.5, 0.5, 0.1]).value == pytest.approx(0.75)
    assert len(roc_curve([1, 0, 0], [0.5, 0.5, 0.1]).thresholds) == 3


def test_auc_against_mann_whitney_and_delong_pair_by_pair():
    rng = np.random.default_rng(2)
    labels = rng.random(80) < 0.4
    scores = np.round(rng.normal(0, 1, 80) + labels, 1)  # rounding makes ties
    wins, losses = scores[labels], scores[~labels]
    found = roc_auc(labels.tolist(), scores.tolist())
    statistic = sp.mannwhitneyu(wins, losses).statistic
    assert found.value == pytest.approx(statistic / (len(wins) * len(losses)))
    kernel = (wins[:, None] > losses) + 0.5 * (wins[:, None] == losses)
    variance = kernel.mean(1).var(ddof=1) / len(wins) + kernel.mean(0).var(ddof=1) / len(losses)
    a = found.value
    half = sp.norm.ppf(0.975) * math.sqrt(variance) / (a * (1 - a))
    assert found.low == pytest.approx(1 / (1 + math.exp(-(math.log(a / (1 - a)) - half))))
    assert found.high == pytest.approx(1 / (1 + math.exp(-(math.log(a / (1 - a)) + half))))


def test_perfect_ranking_is_as_sure_as_its_disjoint_pairs():
    labels = [True] * 12 + [False] * 30
    found = roc_auc(labels, [1.0] * 12 + [0.0] * 30)
    assert (found.value, found.low, found.high) == (1.0, rate(12, 12).low, 1.0)


def test_areas_that_are_not_defined():
    assert roc_auc([1, 1], [0.2, 0.3]) == Estimate(None, None, None, 2)
    assert average_precision([0, 0], [0.2, 0.3]).value is None
    assert roc_auc([], []).value is None
    tied = roc_auc([1, 0, 1, 0], [0.5] * 4)  # no row outranks another, and none varies
    assert (tied.value, tied.low) == (0.5, None)
    for curve in (roc_curve, precision_recall_curve):
        with pytest.raises(StatisticsError, match="2 of 2 rows are positive"):
            curve([1, 1], [0.2, 0.3])


def test_precision_recall_by_hand():
    # + - + + -: precision 1, 1/2, 2/3, 3/4, 3/5 at recall 1/3, 1/3, 2/3, 1, 1
    curve = precision_recall_curve(LABELS, SCORES)
    assert curve.precision == pytest.approx((1, 1 / 2, 2 / 3, 3 / 4, 3 / 5))
    assert curve.recall == pytest.approx((1 / 3, 1 / 3, 2 / 3, 1, 1))
    # average precision = (1 + 2/3 + 3/4) / 3
    found = average_precision(LABELS, SCORES)
    assert found.value == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert found.low is None  # 3 positive rows are too few to resample


def test_average_precision_interval_is_seeded_and_holds_the_value():
    rng = np.random.default_rng(4)
    labels = rng.random(150) < 0.3
    scores = (rng.normal(0, 1, 150) + 1.2 * labels).tolist()
    found = average_precision(labels.tolist(), scores, seed=3)
    assert found.low < found.value < found.high
    assert found == average_precision(labels.tolist(), scores, seed=3)
    # An independent, naive bootstrap lands on the same ends.
    draws = []
    for _ in range(600):
        rows = rng.integers(0, 150, 150)
        curve = precision_recall_curve(labels[rows].tolist(), np.array(scores)[rows].tolist())
        draws.append(np.dot(np.diff(curve.recall, prepend=0), curve.precision))
    middle, half = logit(found.value), sp.t.ppf(0.975, 149) * logit(draws).std()
    assert [found.low, found.high] == pytest.approx(expit([middle - half, middle + half]), abs=0.02)


# ---------------------------------------------------------------- calibration


def test_calibration_by_hand():
    # Two bins. 0.1, 0.3 (mean 0.2) with 1 of 2 positive: gap 0.3;
    # 0.5, 0.8, 1.0 (mean 0.7667) with 3 of 3: gap 0.2333. Error = (2 * 0.3 + 3 * 0.2333) / 5 = 0.26
    found = calibration([0, 1, 1, 1, 1], [0.1, 0.3, 0.5, 0.8, 1.0], bins=2)
    first, second = found.bins
    assert (first.lower, first.upper, second.upper) == (0.0, 0.5, 1.0)
    assert first.mean_probability == pytest.approx(0.2)
    assert first.observed == rate(1, 2)
    assert second.observed == rate(3, 3)
    assert found.error.value == pytest.approx(0.26)
    assert found.error.low is None
    # Brier = (0.01 + 0.49 + 0.25 + 0.04 + 0) / 5
    assert found.brier.value == pytest.approx(0.158)


def test_empty_bins_are_left_out():
    assert [b.lower for b in calibration([0, 1], [0.05, 0.95]).bins] == [0.0, 0.9]


def test_perfect_probabilities_stay_within_chance_and_bad_ones_do_not():
    rng = np.random.default_rng(1)
    probabilities = rng.random(400)
    labels = rng.random(400) < probabilities
    good = calibration(labels.tolist(), probabilities.tolist())
    assert good.error_by_chance.low < good.error.value < good.error_by_chance.high
    bad = calibration(labels.tolist(), (probabilities**3).tolist())
    assert bad.error.value > bad.error_by_chance.high


def test_calibration_of_nothing_and_of_impossible_probabilities():
    assert calibration([], []).error.value is None
    assert calibration([], []).brier.value is None
    with pytest.raises(InputError, match=r"probabilities\[0\] is 1\.2"):
        calibration([1], [1.2])


# ---------------------------------------------------------------- decisions


def test_confusion_by_hand():
    # truth 1 1 1 0 0, opened 1 0 1 1 0: TP 2, FN 1, FP 1, TN 1
    found = confusion([1, 1, 1, 0, 0], [1, 0, 1, 1, 0])
    assert found == Confusion(2, 1, 1, 1)
    assert found.precision == rate(2, 3)
    assert found.recall == rate(2, 3)
    assert found.specificity == rate(1, 2)
    assert found.accuracy == rate(3, 5)
    assert found.share_opened == rate(3, 5)


def test_what_never_happened_has_no_rate():
    found = confusion([0, 0], [0, 0])
    assert found.precision.value is None
    assert found.recall.value is None


def test_a_row_on_the_threshold_opens():
    assert confusion_at([1, 0], [0.5, 0.49], 0.5) == Confusion(1, 0, 0, 1)
    with pytest.raises(InputError, match="nan"):
        confusion_at([1], [0.5], math.nan)


def test_best_threshold_by_hand():
    # Between 0.3 and 0.7 all is right: halfway, 0.5.
    found = best_threshold([0, 0, 1, 1], [0.1, 0.3, 0.7, 0.9])
    assert found == pytest.approx(0.5)
    assert confusion_at([0, 0, 1, 1], [0.1, 0.3, 0.7, 0.9], found) == Confusion(2, 0, 0, 2)


def test_best_threshold_against_trying_them_all():
    rng = np.random.default_rng(6)
    labels = (rng.random(90) < 0.35).tolist()
    probabilities = np.clip(rng.normal(0.4, 0.2, 90) + 0.15 * np.array(labels), 0, 1).tolist()
    found = best_threshold(labels, probabilities)
    tried = [confusion_at(labels, probabilities, t) for t in np.linspace(0, 1, 401)]
    best = max(t.recall.value + t.specificity.value for t in tried)
    chosen = confusion_at(labels, probabilities, found)
    assert chosen.recall.value + chosen.specificity.value == pytest.approx(best)
    with pytest.raises(StatisticsError, match="0 of 1 rows are positive"):
        best_threshold([0], [0.3])


def test_regret_against_the_oracle_by_hand():
    # persona 1 0 5 2, neutral 0 3 5 1 (a tie on the third), opened 1 1 0 0:
    # better answers 1 3 5 2, taken 1 0 5 1 -> lost 0 3 0 1, mean 1. Helps on the 1st and 4th.
    scores = make_pairs([1, 0, 5, 2], [0, 3, 5, 1])
    found = against_oracle([1, 1, 0, 0], scores)
    assert found.regret.value == 1.0
    assert found.ties == 1
    assert found.confusion == Confusion(1, 1, 1, 1)
    perfect = against_oracle([1, 0, 0, 1], scores, bounds=(0, 5))
    assert perfect.regret.value == 0.0
    assert perfect.regret.high > 0  # four items do not prove perfection
    with pytest.raises(InputError, match="opened has 1 rows"):
        against_oracle([1], scores)


# ---------------------------------------------------------------- best of k


def test_expected_best_of_two_by_hand():
    # Pairs of 1, 2, 4: best 2, 4, 4 -> 10/3
    assert expected_best_of([4, 1, 2], 2).value == pytest.approx(10 / 3)


@pytest.mark.parametrize("k", [1, 3, 6, 8])
def test_expected_best_against_all_subsets(k):
    values = normal(8)
    expected = np.mean([max(subset) for subset in combinations(values, k)])
    found = expected_best_of(values, k)
    assert found.value == pytest.approx(expected)
    assert (found.low is None) == (k == 8)


def test_best_of_one_is_the_mean_with_students_interval():
    # The jackknife's standard error of a mean is exactly s / sqrt(n).
    values = normal(12)
    found, mean = expected_best_of(values, 1), mean_of(values)
    assert (found.value, found.low) == (pytest.approx(mean.value), pytest.approx(mean.low))


def test_the_best_of_more_than_were_seen_is_not_defined():
    with pytest.raises(StatisticsError, match="best of 4 cannot be estimated from 3"):
        expected_best_of([1, 2, 3], 4)
    with pytest.raises(InputError, match="k is 0"):
        expected_best_of([1, 2, 3], 0)
