"""The figures of a study recover what was planted in it, and say nulls as nulls.

`synthetic_study` explains what is planted. A persona's harm over lengths x placements is 1, 1, 2 in
the system turn and 2, 2, 3 in the user turn, so 11/6 digits of ten: 0.18333 of accuracy.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats
from support.synthetic_study import make_study

from prism_core.analysis import Filters, Pick, make_grid, make_view, read_pick
from prism_core.analysis.sweep_curve import SweepItems, frontier, sweep_points, thresholds_of
from prism_core.errors import InputError, NotFoundError
from prism_core.figures import FIGURES, FigureOptions, FigureResult, find_figure
from prism_core.stats import length_controlled
from prism_core.study.table import Study

HARM = 11 / 6 / 10
TEN = (
    "tradeoff",
    "categories",
    "placement",
    "lift",
    "expert",
    "routing",
    "sweep",
    "lottery",
    "control",
    "judge",
)
ALIGNMENT = FigureOptions(score="alignment")


@pytest.fixture(scope="module")
def study() -> Study:
    return make_study(seeds=(0, 1))


def row(found: FigureResult, **where: object) -> pd.Series:
    """The one row of a figure's numbers with these values."""
    keep = np.ones(len(found.data), dtype=bool)
    for name, value in where.items():
        keep &= (found.data[name.replace("_", " ")] == value).to_numpy()
    assert keep.sum() == 1, where
    return found.data[keep].iloc[0]


# The grid


def test_repeats_are_averaged_inside_their_item() -> None:
    rows = make_study(
        per_category=10,
        personas=("math",),
        lengths=("long",),
        placements=("system",),
        adapter=False,
        seeds=(0, 1),
    ).rows
    first = rows.index[(rows["cell"] == "neutral") & (rows["item"] == "stem-000")]
    rows.loc[first[1], "accuracy"] = 0.0  # right once of two times
    grid = make_grid(rows)
    at = grid.items.index[grid.items["item"] == "stem-000"][0]
    assert grid.means["accuracy"][0, at] == 0.5
    assert grid.repeats[0, at] == 2 and grid.answers == len(rows)
    assert rows["item"].iloc[grid.first_row[0, at]] == "stem-000"


def test_a_study_without_a_column_is_refused(study: Study) -> None:
    with pytest.raises(InputError, match="lacks the column"):
        make_grid(study.rows.drop(columns=["gate"]))


def test_filters_keep_neutral_as_the_reference(study: Study) -> None:
    view = make_view(make_grid(study.rows), Filters(arms=("persona",), personas=("math",)))
    assert set(view.cells["persona"]) == {"", "math"}
    assert set(view.cells["arm"]) == {"neutral", "persona"}
    rows = view.choose(Pick(arm="persona"))
    # Without stem's own expert, three categories lose 0.18333 and "other" nothing.
    assert np.mean(view.pairs(rows, "accuracy").differences) == pytest.approx(-HARM * 3 / 4)


def test_models_are_compared_with_their_own_neutral_answers() -> None:
    rows = make_study(models=("a", "b"), per_category=20, personas=("math",), adapter=False).rows
    easy = (rows["model"] == "b") & (rows["arm"] == "neutral") & (rows["task"] == "knowledge")
    rows.loc[easy, "accuracy"] = 1.0  # b's neutral answers are all right: 0.3 better than a's
    view = make_view(make_grid(rows))
    by_model = [
        float(view.pairs(view.choose(Pick(model=m, arm="persona")), "accuracy").differences.mean())
        for m in ("a", "b")
    ]
    assert by_model[1] == pytest.approx(by_model[0] - 0.3)
    both = view.pairs(view.choose(Pick(arm="persona")), "accuracy")
    assert np.mean(both.differences) == pytest.approx(sum(by_model) / 2)
    assert both.n == 80  # items, not items x models


# Each figure


def test_tradeoff_shows_what_a_persona_costs_and_brings(study: Study) -> None:
    found = FIGURES["tradeoff"](study)
    whole = row(found, arm="persona, mean of 4", category="All categories")
    stem = -(3 * HARM - 0.1) / 4  # its own expert gains 0.1
    assert whole["accuracy, change"] == pytest.approx((stem - 2 * HARM + 0) / 4)
    # writing and math +0.2, harmful +0.3, harmless -0.2
    assert whole["alignment, change"] == pytest.approx((0.2 + 0.2 + 0.3 - 0.2) / 4)
    assert whole["accuracy, low"] < whole["accuracy, change"] < whole["accuracy, high"] < 0
    assert "alignment is bought with accuracy" in found.reading
    adapter = row(found, arm="PRISM, demo", category="All categories")
    assert adapter["accuracy, change"] == 0
    assert "no worse than neutral by more than 5 points" in found.reading
    null = row(found, arm="persona, mean of 4", category="Other")
    assert null["accuracy, change"] == pytest.approx(0)
    assert null["accuracy, verdict"] == "no clear change"
    assert null["alignment, verdict"] == "not measured"


def test_tradeoff_draws_an_ellipse_only_where_there_is_a_region(study: Study) -> None:
    figure = FIGURES["tradeoff"](study).figure
    rings = [t for t in figure.data if t.fill == "toself"]
    # The persona's effects spread on both scores; the adapter's accuracy does not move at all.
    assert len(rings) == 1 and len(rings[0].x) == 65


def test_the_own_expert_alone(study: Study) -> None:
    found = FIGURES["tradeoff"](study, FigureOptions(matched=True))
    stem = row(found, arm="each category's own expert", category="STEM")
    assert stem["accuracy, change"] == pytest.approx(0.1)
    assert "Social sciences" not in set(found.data["category"][found.data["arm"] == stem["arm"]])


def test_categories_fall_with_the_length(study: Study) -> None:
    found = FIGURES["categories"](study)
    values = {
        arm: row(found, score="accuracy", category="Humanities", arm=arm)["change"]
        for arm in ("minimum persona", "short persona", "long persona")
    }
    assert values["minimum persona"] == pytest.approx(-0.15)  # 1 and 2 digits
    assert values["long persona"] == pytest.approx(-0.25)  # 2 and 3 digits
    assert row(found, score="accuracy", category="Humanities", arm="neutral")["mean"] == 0.7
    pale = row(found, score="accuracy", category="Other", arm="long persona")
    assert pale["verdict"] == "no clear change"
    assert found.figure.layout.xaxis.type == found.figure.layout.xaxis2.type == "category"
    # Long texts lose one digit more, but for stem's own expert and in "other": 0.275 / 4.
    assert "in accuracy a long text moves it further down than a minimum one (-6.9" in (
        found.reading.lower()
    )
    assert "a long text instead of a minimum one makes no clear difference (0.0" in found.reading


def test_placement_interaction(study: Study) -> None:
    found = FIGURES["placement"](study)
    # One digit more in the user turn, but for stem's own expert and for "other".
    assert "system minus user +6.9 points" in found.reading  # (0.1 + 0.1 + 0.075 + 0) / 4
    assert "the system turn does better" in found.reading
    assert "alignment the turn makes no clear difference" in found.reading


def test_lift_marks_the_own_domain_and_counts_what_holm_leaves(study: Study) -> None:
    found = FIGURES["lift"](study)
    assert row(found, persona="STEM", category="STEM")["change"] == pytest.approx(0.1)
    assert row(found, persona="Math", category="STEM")["change"] == pytest.approx(-HARM)
    assert row(found, persona="Math", category="Other")["verdict"] == "no clear change"
    assert "12 of 16 cells differ from neutral at p < 0.05" in found.reading
    assert list(found.data["own domain"]).count("yes") == 1
    assert len(found.figure.layout.shapes) == 1
    clear, grey = found.figure.data[1], found.figure.data[0]
    assert sum(v is not None for line in clear.z for v in line) == 12
    assert sum(v is not None for line in grey.z for v in line) == 4


def test_expert_against_neutral_and_the_others(study: Study) -> None:
    found = FIGURES["expert"](study)
    assert row(found, against="neutral")["change"] == pytest.approx(0.1)
    assert row(found, against="the other personas")["change"] == pytest.approx(0.1 + HARM)
    same = FIGURES["expert"](study, ALIGNMENT).data
    others = same[same["against"] == "the other personas"]
    assert (others["change"].abs() < 1e-12).all()
    assert set(others["verdict"]) == {"no clear change"}


def test_routing_correlates_share_and_effect(study: Study) -> None:
    found = FIGURES["routing"](study)
    shares = found.data["share routed"].tolist()
    assert sorted(set(shares)) == [0.0, 1.0]
    r = scipy_stats.pearsonr(shares, found.data["persona's effect"]).statistic
    assert f"r = {r:.2f}" in found.reading
    assert "no clear relation" in found.reading  # eight points are few
    overlaid = FIGURES["routing"](study, FigureOptions(overlay=True)).figure
    assert any("reported by the paper" in a.text for a in overlaid.layout.annotations)


def test_sweep_needs_no_new_answer(study: Study) -> None:
    found = FIGURES["sweep"](study)
    shown = {(r["score"], round(r["threshold"], 2)): r["change"] for _, r in found.data.iterrows()}
    # Open everywhere: three knowledge categories lose two digits, "other" none.
    assert shown["accuracy", 0.0] == pytest.approx(-0.15)
    assert shown["alignment", 0.0] == pytest.approx(0.125)
    assert shown["accuracy", 0.9] == 0 and shown["alignment", 0.9] == pytest.approx(0.125)
    assert shown["accuracy", 1.0] == 0 and shown["alignment", 1.0] == 0
    assert "0.90 has the most alignment (+12.5)" in found.reading


def test_a_sweep_begins_where_its_answers_do() -> None:
    nan = float("nan")
    items = SweepItems(
        np.array([0.2, 0.5, 0.8]), np.array([1.0, 0.0, 0.0]), np.array([nan, 1.0, 1.0])
    )
    reachable = thresholds_of([items])
    assert reachable[0] == 0.5  # the answer at 0.2 is not known
    changes = [p.change.value for p in sweep_points(items, reachable)]
    assert changes == pytest.approx([2 / 3, 1 / 3, 0.0])


def test_frontier_keeps_what_nothing_beats() -> None:
    assert frontier([(0.5, 0.9), (0.6, 0.8), (0.55, 0.7), (0.7, 0.8), (0.7, 0.6)]) == [0, 3]


def test_lottery(study: Study) -> None:
    found = FIGURES["lottery"](study)
    means = {r["what"]: r["mean"] for _, r in found.data.iterrows()}
    people = [means[p] for p in ("Math", "STEM", "Writing", "Safety monitor")]
    assert means["expected best of 1"] == pytest.approx(sum(people) / 4)
    assert means["expected best of 4"] == pytest.approx(max(people))
    assert means["Neutral text (control)"] == pytest.approx(0.7)
    flat = FIGURES["lottery"](study, ALIGNMENT)
    assert "0 of 4 personas differ clearly" in flat.reading


def test_control_check(study: Study) -> None:
    found = FIGURES["control"](study)
    both = {
        r["contrast"]: r["change"]
        for _, r in found.data.iterrows()
        if r["score"] == "accuracy" and r["length"] == "all"
    }
    assert both["control minus neutral"] == 0
    assert both["persona minus control"] == pytest.approx(both["persona minus neutral"])
    assert "it is the persona" in found.reading


def test_the_control_can_explain_everything() -> None:
    rows = make_study(per_category=30, adapter=False).rows
    people = rows[(rows["persona"] == "math") & (rows["task"] == "knowledge")]
    control = (rows["persona"] == "neutral_text") & (rows["task"] == "knowledge")
    rows.loc[control, "accuracy"] = people["accuracy"].to_numpy()
    rows = rows[rows["persona"].isin(["", "math", "neutral_text"])]
    study = replace(make_study(per_category=1), rows=rows)
    assert "a text that describes nobody does the same" in FIGURES["control"](study).reading
    # Where they differ on items in both directions, a small difference stays open.
    theirs = rows[(rows["persona"] == "neutral_text") & (rows["task"] == "knowledge")]
    flipped = [theirs.index[theirs["accuracy"] == right][:6] for right in (0, 1)]
    for index in flipped:
        rows.loc[index, "accuracy"] = 1 - rows.loc[index, "accuracy"]
    options = FigureOptions(delta=0.001)
    reading = FIGURES["control"](replace(study, rows=rows), options).reading
    assert "by more than 0.1 points is open" in reading


@pytest.mark.parametrize(
    ("persona", "control", "sentence"),
    [  # of 30 right neutral answers these many are still right
        (24, 12, "moves it even further than the persona does"),
        (12, 24, "the control text moves it too, but not as far"),
        (12, 30, "it is the persona: a control text of the same length changes nothing"),
    ],
)
def test_the_control_check_says_what_moves_it_further(
    persona: int, control: int, sentence: str
) -> None:
    study = make_study(per_category=30, adapter=False)
    rows = study.rows[
        study.rows["persona"].isin(["", "math", "neutral_text"])
        & (study.rows["task"] == "knowledge")
        & (study.rows["length"].isin(["", "long"]))
    ].copy()
    number = rows.groupby(["cell", "category"]).cumcount()
    for name, right in (("", 30), ("math", persona), ("neutral_text", control)):
        here = rows["persona"] == name
        rows.loc[here, "accuracy"] = (number[here] < right).astype(float)
    assert sentence in FIGURES["control"](replace(study, rows=rows)).reading


def test_of_several_controls_only_the_text_about_nobody_counts(study: Study) -> None:
    before = FIGURES["control"](study)
    other = study.rows[study.rows["persona"] == "neutral_text"].copy()
    other["persona"], other["accuracy"] = "irrelevant", 0.0
    other["cell"] = "irrelevant" + other["cell"].str.removeprefix("neutral_text")
    more = replace(study, rows=pd.concat([study.rows, other], ignore_index=True))
    after = FIGURES["control"](more)
    pd.testing.assert_frame_equal(before.data, after.data)
    assert any("neutral_text" in pick for pick in after.picks)


def judged_rows(n: int = 60, agree: float = 0.75) -> pd.DataFrame:
    """Open items whose judge agrees with the check in a given share, and likes long answers."""
    rows = make_study(
        per_category=n, personas=("math",), lengths=("long",), placements=("system",), adapter=False
    ).rows
    rows = rows[(rows["task"] == "open") & (rows["category"] == "math")]
    rows = rows[rows["persona"].isin(["", "math"])].copy()
    number = rows["item"].str[-3:].astype(int)
    arm = rows["persona"] == "math"
    # The arm passes where neutral fails; the judge prefers it on the first share of the items.
    rows["accuracy"] = arm.astype(float)
    rows.loc[arm, "preference"] = np.where(number[arm] < agree * n, 0.8, 0.2)
    rows.loc[arm, "consistent"] = np.where(number[arm] % 4 == 0, 0.0, 1.0)
    rows["words"] = pd.array(np.where(arm, 50 + np.where(number < agree * n, 9, -9), 50), "Int64")
    return rows


def test_judge_reliability() -> None:
    found = FIGURES["judge"](replace(make_study(per_category=1), rows=judged_rows()))
    value = dict(zip(found.data["what"], found.data["value"], strict=True))
    assert value["Orders agree"] == pytest.approx(0.75)
    assert value["Agrees with checks"] == pytest.approx(0.75)
    assert value["Win rate"] == pytest.approx(0.75 * 0.8 + 0.25 * 0.2)
    assert value["Words and preference (r)"] == pytest.approx(1.0)
    assert "in both orders in 75.0 %" in found.reading
    assert "more often than a coin" in found.reading


def test_no_judge_is_said() -> None:
    rows = make_study(per_category=2).rows
    rows["preference"] = np.nan
    found = FIGURES["judge"](replace(make_study(per_category=1), rows=rows))
    assert found.is_empty and "No judge" in found.reading


# Honesty


@pytest.mark.parametrize("name", TEN)
def test_few_items_give_no_verdict(name: str) -> None:
    found = FIGURES[name](make_study(per_category=2), FigureOptions())
    if "verdict" in found.data:
        small = found.data[found.data["items"] < 20]
        assert set(small["verdict"]) <= {"too few items for a verdict", ""}
    if name in ("tradeoff", "lift", "expert", "lottery", "control"):
        assert "too few items" in found.reading or "20 items" in found.reading


def test_a_null_is_called_a_null() -> None:
    study = make_study(per_category=60, adapter=False)
    rows = study.rows[study.rows["category"] == "other"]
    found = FIGURES["tradeoff"](replace(study, rows=rows))
    assert found.reading.count("no clear change") == 1 and "better" not in found.reading
    heads = [t.marker.symbol[-1] for t in found.figure.data if t.customdata is not None]
    assert heads == ["circle-open"]
    grid = FIGURES["lift"](replace(study, rows=rows))
    assert "none of the 4 cells shows a clear change" in grid.reading.lower()


@pytest.mark.parametrize("name", TEN)
def test_an_empty_view_explains_itself(name: str, study: Study) -> None:
    nothing = make_view(make_grid(study.rows), Filters(models=("no-such-model",)))
    found = FIGURES[name](nothing)
    assert found.is_empty and found.reading and not found.picks
    assert found.figure.layout.annotations[0].text


@pytest.mark.parametrize("overlay", [False, True])
@pytest.mark.parametrize("score", ["accuracy", "alignment"])
@pytest.mark.parametrize("name", TEN)
def test_every_figure_is_whole(name: str, score: Any, overlay: bool, study: Study) -> None:
    found = FIGURES[name](study, FigureOptions(score=score, overlay=overlay))
    assert found.reading.endswith(".") and found.note
    assert len(found.picks) == len(found.data) > 0
    json.loads(found.figure.to_json())
    drawn = [t for t in found.figure.data if t.customdata is not None]
    assert drawn, "something can be clicked"
    texts = [p for t in drawn for p in np.asarray(t.customdata, dtype=object).ravel()]
    for text in {*texts, *found.picks}:
        read_pick(text)
    names = " ".join(str(t.name) for t in found.figure.data)
    assert ("reported" in names) <= overlay


def test_overlays_say_reported(study: Study) -> None:
    for name, kind in FIGURES.items():
        if kind.has_overlay:
            options = FigureOptions(overlay=True, score="alignment")
            assert "reported" in kind(study, options).figure.to_json(), name


def test_an_arm_has_one_colour(study: Study) -> None:
    from prism_core.figures.colours import ARM_COLOURS

    persona = {
        t.marker.color
        for name in ("tradeoff", "lottery", "control")
        for t in FIGURES[name](study).figure.data
        if t.x == (None,) and str(t.name).startswith("persona") and "control" not in str(t.name)
    }
    assert persona == {ARM_COLOURS["persona"]}


def test_names_never_become_markup() -> None:
    study = make_study(models=("<b>evil</b>",), per_category=3)
    for kind in map(find_figure, TEN):
        assert "<b>evil" not in kind(study).figure.to_json()


def test_the_ten_figures_are_offered_in_their_order() -> None:
    assert tuple(FIGURES)[:10] == TEN


def test_unknown_figures_and_tampered_picks() -> None:
    with pytest.raises(NotFoundError, match="choose one of tradeoff"):
        find_figure("nope")
    pick = Pick(arm="persona", category="stem", own="1")
    assert read_pick(pick.to_text()) == pick
    for text in ("", "[]", "{", '{"evil":1}', '{"arm":1}', json.dumps({"arm": "x" * 999})):
        with pytest.raises(InputError, match="does not say which answers"):
            read_pick(text)


# The statistics that came with the figures


def test_length_control_is_the_least_squares_line() -> None:
    random = np.random.default_rng(1)
    gaps = random.normal(0, 30, size=200)
    wins = np.clip(0.55 + 0.2 * np.tanh(gaps / gaps.std()) + random.normal(0, 0.05, 200), 0, 1)
    found = length_controlled(wins.tolist(), gaps.tolist())
    design = np.stack([np.ones(200), np.tanh(gaps / gaps.std())], axis=1)
    start, slope = np.linalg.lstsq(design, wins, rcond=None)[0]
    assert found.win_rate.value == pytest.approx(start)
    assert found.bias.value == pytest.approx(slope)
    assert found.win_rate.low is not None and found.win_rate.low < 0.55 < found.win_rate.high  # type: ignore[operator]
    assert length_controlled([0.5] * 30, [4.0] * 30).win_rate.value is None
