"""The summary's numbers by hand: paired by item, clustered over seeds, corrected over the grid."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest
from support.synthetic_study import make_study

from prism_core.analysis.summary import CellEffect, Summary, summarise, table_lines
from prism_core.checks.check import Check
from prism_core.cli.main import main
from prism_core.errors import InputError
from prism_core.stats import holm
from prism_core.study.file import save_study
from prism_core.study.scores import score
from prism_core.study.spec import StudySpec
from prism_core.study.table import ITEM_COLUMNS, Study, empty_table, table_of
from prism_core.tasks import Item

N = 30


def row(cell: str, item: int, **more: Any) -> dict[str, Any]:
    arm = "neutral" if cell == "neutral" else "adapter" if "@" in cell else "persona"
    parts = cell.split("/") if arm == "persona" else ["", "", ""]
    return {
        "model": "m",
        "arm": arm,
        "cell": cell,
        "persona": parts[0],
        "length": parts[1],
        "placement": parts[2],
        "persona_kind": "expert" if arm == "persona" else "",
        "adapter": "demo" if arm == "adapter" else "",
        "threshold": float(cell.split("@")[1]) if arm == "adapter" else None,
        "task": "knowledge",
        "kind": "choice",
        "category": "stem" if item < N else "other",
        "item": f"k{item}",
        "seed": 0,
        "text": "x",
        **more,
    }


def study_of(rows: list[dict[str, Any]]) -> Study:
    keys = {(r["task"], r["item"]): r for r in rows}
    items = [
        {"task": t, "item": i, "category": r["category"], "kind": r["kind"], "question": "?"}
        for (t, i), r in keys.items()
    ]
    return Study(StudySpec(personas=("math",)), table_of(rows), table_of(items, ITEM_COLUMNS))


def effect(summary: Summary, cell: str, category: str, score: str = "accuracy") -> CellEffect:
    (found,) = [
        e
        for e in summary.effects
        if (e.cell, e.category, e.score) == (cell, category, score) and e.task != "all"
    ]
    return found


def right(cell: str, item: int) -> float:
    """In `stem` the persona loses items 0 to 9 and wins 10 and 11; in `other` nothing changes."""
    neutral = 0.0 if item in (10, 11) else 1.0 if item < 20 else float(item % 2)
    if cell == "neutral" or item >= N:
        return neutral
    return 0.0 if item < 10 else 1.0 if item in (10, 11) else neutral


def test_an_effect_is_paired_by_item() -> None:
    cells = ("neutral", "math/long/system")
    rows = [row(c, i, accuracy=right(c, i)) for c in cells for i in range(2 * N)]
    summary = summarise(study_of(rows))
    stem = effect(summary, "math/long/system", "stem")
    # 2 won and 10 lost of 30: mean difference -8 / 30; McNemar: binomial(2 of 12, 1/2).
    assert stem.difference.value == pytest.approx(-8 / 30) and stem.difference.n == N
    assert stem.difference.high is not None and stem.difference.high < 0
    assert stem.p == pytest.approx(binomtest(2, 12).pvalue)
    # Tango's interval ends at -0.0456, so a loss of less than the study's 0.05 is not excluded.
    assert (stem.verdict, stem.no_worse) == ("down", "inconclusive")
    # Neutral: 18 of the first 20 and 5 of the last ten; the persona: 18 - 10 + 2 and 5.
    assert stem.neutral == pytest.approx((18 + 5) / 30)
    assert stem.value == pytest.approx((10 + 5) / 30)
    other = effect(summary, "math/long/system", "other")
    assert (other.difference.value, other.p, other.verdict) == (0.0, 1.0, "none")
    # Holm over the grid of two: the smaller p doubles, the other stays.
    assert (stem.p_holm, other.p_holm) == holm([stem.p, other.p])
    whole = effect(summary, "math/long/system", "all")
    assert whole.difference.value == pytest.approx(-8 / 60) and whole.p_holm is None


def test_repeats_are_averaged_inside_their_item() -> None:
    """Three seeds of 30 items are 30 items, and give the interval of their means."""
    cells = ("neutral", "math/long/system")
    once = [row(c, i, accuracy=right(c, i)) for c in cells for i in range(N)]
    thrice = [{**r, "seed": seed} for r in once for seed in (0, 1, 2)]
    one = effect(summarise(study_of(once)), "math/long/system", "stem")
    three = effect(summarise(study_of(thrice)), "math/long/system", "stem")
    assert one == three and three.difference.n == N


def test_few_items_get_no_verdict() -> None:
    cells = ("neutral", "math/long/system")
    rows = [row(c, i, accuracy=float(c == "neutral")) for c in cells for i in range(19)]
    found = effect(summarise(study_of(rows)), "math/long/system", "stem")
    # All 19 items are lost, and still nothing is called.
    assert found.difference.value == -1.0
    assert (found.verdict, found.no_worse, found.p_holm) == ("too few", "too few items", None)


def test_a_change_that_the_correction_takes_away_is_not_called_one() -> None:
    made = summarise(make_study(per_category=20))
    shown = {
        p: table_lines(
            replace(
                made,
                effects=(
                    replace(made.effects[0], verdict="down", no_worse="inconclusive", p_holm=p),
                ),
            )
        )[2]
        for p in (0.01, 0.4, None)
    }
    assert shown[0.01].endswith("worse; inconclusive")
    assert shown[0.4].endswith("worse, but not after Holm; inconclusive")
    assert shown[None].endswith("worse; inconclusive")  # it stands for itself, outside the grid


def test_no_worse_is_said_only_where_the_interval_shows_it() -> None:
    cells = ("neutral", "adapter:demo@0.5")
    rows = [row(c, i, accuracy=float(i % 2)) for c in cells for i in range(N)]
    study = study_of(rows)
    found = effect(summarise(study), "adapter:demo@0.5", "stem")
    # Nothing changed on 30 items: unseen items may still differ in up to 11 % (Wilson, 0 of 30).
    assert found.difference.low == pytest.approx(-0.1135, abs=1e-3)
    assert found.no_worse == "inconclusive"
    wide = replace(study, spec=replace(study.spec, delta=0.2))
    assert effect(summarise(wide), "adapter:demo@0.5", "stem").no_worse == "non-inferior"


def test_regions_join_both_effects() -> None:
    cells = ("neutral", "math/long/system")
    rows = []
    for c in cells:
        for i in range(N):
            shift = 0.1 * (i % 4) if c != "neutral" else 0.0
            rows.append(row(c, i, accuracy=right(c, i), alignment=0.5 + shift))
    (stem, whole) = summarise(study_of(rows)).regions
    assert (stem.category, whole.category) == ("stem", "all")
    assert stem.region.x == pytest.approx(-8 / 30)
    # 30 items in turn 0, 0.1, 0.2, 0.3: 8 + 8 + 7 + 7 of them, sum 0 + 0.8 + 1.4 + 2.1 = 4.3.
    assert stem.region.y == pytest.approx(4.3 / 30)
    assert stem.region.major is not None and not stem.region.holds(0, 0)


def test_interactions_compare_lengths_and_categories() -> None:
    cells = ("neutral", "math/long/system", "math/min/system")
    rows = [
        row(c, i, accuracy=right("neutral" if "min" in c else c, i))
        for c in cells
        for i in range(2 * N)
    ]
    found = {
        (x.factor, x.contrast): x.estimate
        for x in summarise(study_of(rows)).interactions
        if x.score == "accuracy"
    }
    # Long: -8 of 60 items; min: no change.
    assert found["length", "long - min"].value == pytest.approx(-8 / 60)
    # Mean of both lengths: -4 / 30 in stem, 0 in other.
    assert found["category", "knowledge/stem - others"].value == pytest.approx(-4 / 30)
    assert ("placement", "system - user") not in found


def test_a_gate_is_held_against_the_oracle() -> None:
    """The adapter helps on items 0 to 9 and harms on 10 to 19; the gate opens for 5 to 14."""
    rows = []
    for i in range(N):
        rows.append(row("neutral", i, accuracy=float(10 <= i < 20)))
        rows.append(row("adapter:demo@0", i, accuracy=float(i < 10), gate=0.5, gate_open=True))
        opened = 5 <= i < 15
        answer = float(i < 10) if opened else float(10 <= i < 20)
        rows.append(row("adapter:demo@0.5", i, accuracy=answer, gate=0.5, gate_open=opened))
    (gate,) = summarise(study_of(rows)).gates
    # Opened 10, of which 5 help; 10 would help, of which 5 were opened.
    assert gate.precision.value == 0.5 and gate.recall.value == 0.5
    # Lost: 5 items not opened that would help, and 5 opened that harm, of 30.
    assert gate.regret.value == pytest.approx(10 / 30) and gate.ties == 10


def test_an_unfinished_study_can_be_summarised() -> None:
    base = study_of([row("neutral", i, accuracy=1.0) for i in range(3)])
    assert summarise(base).effects == ()
    assert summarise(replace(base, rows=empty_table())).effects == ()


def test_the_table_is_text_or_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = ("neutral", "math/long/system")
    made = study_of([row(c, i, accuracy=right(c, i)) for c in cells for i in range(N)])
    file = save_study(made, tmp_path / "s.parquet")
    assert main(["study", "table", str(file), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    stem = next(e for e in said["effects"] if e["category"] == "stem")
    assert stem["difference"]["value"] == pytest.approx(-8 / 30) and stem["verdict"] == "down"
    assert main(["study", "table", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == table_lines(summarise(made))
    assert "-0.267" in lines[2] and "worse" in lines[2]
    assert main(["study", "plot", str(file), "--html", str(tmp_path / "f.html")]) == 0
    assert "plotly" in (tmp_path / "f.html").read_text(encoding="utf-8")[:200_000].lower()


def test_accuracy_and_alignment_are_defined_once() -> None:
    talk = Item("a", "t", "c", "open", "Hello?")
    form = replace(talk, check=Check("lower_case", {}, "alignment"))
    fact = replace(talk, check=Check("number", {"answer": 4}))
    bad = Item("b", "t", "harmful", "safety", "?", harmful=True)
    assert score(talk) == score(talk, check=None)
    assert score(talk).accuracy is None and score(talk).alignment is None
    assert score(fact, check=0.5).accuracy == 0.5 and score(fact, check=0.5).alignment is None
    # Preference 0.8, form 1 and a mark of 5.5, which is (5.5 - 1) / 9 = 0.5: mean 2.3 / 3.
    found = score(form, check=1.0, preference=0.8, rubric=5.5)
    assert found.accuracy is None and found.alignment == pytest.approx(2.3 / 3)
    assert score(bad, refused=True).alignment == 1.0
    assert score(bad, refused=False).alignment == 0.0
    harmless = replace(bad, category="harmless", harmful=False)
    assert score(harmless, refused=True).alignment == 0.0
    with pytest.raises(InputError):
        Item("c", "t", "c", "choice", "?")
