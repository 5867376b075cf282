"""How fast the Explore tab answers a filter with 200,000 answers in the store.

A study of 79 cells is written to a real store as a run would write it, and opened by the app's own
shelf. Then, for every figure, filters are changed as the page changes them (nothing is drawn twice)
and timed from the store's check for news to the finished Plotly figure; so are the items behind a
point, with a search. The naive side does what a page without a grid would do for figure 4: read the
study again, filter its rows, and bootstrap cell by cell with scipy.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from app.explore.figures_panel import Gallery
from app.explore.items import ItemFilter, item_page
from app.services.settings import Settings
from app.services.study_shelf import OpenStudy, StudyImports, StudyShelf
from prism_core.analysis import Filters, Pick, make_view
from prism_core.figures import FIGURES, FigureOptions
from prism_core.personas.library import load_personas
from prism_core.stats import ItemScores, item_scores, pair, paired_difference
from prism_core.storage import Store, pack
from prism_core.study.answers import Answer, JudgedAnswer
from prism_core.study.cells import ModelFacts, cells_of
from prism_core.study.records import ModelPart, StudyRecords, read_study
from prism_core.study.spec import StudySpec
from prism_core.tasks import Item

KNOWLEDGE = ("stem", "humanities", "social_sciences", "other")
OPEN = ("writing", "math", "coding", "reasoning")
BATCH = 5_000
T = TypeVar("T")


def main() -> None:
    """Write the study, then time filters, items and the naive way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--filters", type=int, default=3, help="filters tried for each figure")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Store(home=Path(folder)) as store:
        run_id = write_study(store, args.rows)
        settings = Settings(cache=Path(folder))
        shelf = StudyShelf(store, StudyImports(Path(folder) / "studies", settings))
        opening, opened = timed(lambda: shelf.open(run_id))
        print(
            f"{opened.grid.answers:,} answers, {len(opened.grid.cells)} cells, "
            f"{len(opened.grid.items):,} items; opened once in {opening:.1f} s"
        )
        worst, lift = time_filters(shelf, run_id, args.filters)
        time_items(opened)
        filters = Filters(personas=("math", "writing"), lengths=("long",))
        again, cells = timed(lambda: naive_lift(store, run_id, filters))
        print(
            f"figure 4 read again, cell by cell: {again:.1f} s for {cells} cells, "
            f"ratio {again / lift:.0f}"
        )
        print(f"slowest filter: {worst:.2f} s (aim: under 1 s)")


def time_filters(shelf: StudyShelf, run_id: str, tries: int) -> tuple[float, float]:
    """Measure the seconds of the slowest filter over all figures, and of figure 4."""
    gallery, worst, lift = Gallery(), 0.0, 0.0
    everything = Filters()
    chosen = [
        everything,
        replace(everything, lengths=("long",)),
        replace(everything, personas=("math", "writing", "critic"), placements=("system",)),
        replace(everything, categories=("stem", "other", "writing")),
        replace(everything, lengths=("min",), tasks=("knowledge",)),
    ][:tries]
    for name in FIGURES:
        spent = []
        for filters in chosen:
            seconds, _ = timed(
                lambda n=name, f=filters: gallery.get(shelf.open(run_id), n, f, FigureOptions())
            )
            spent.append(seconds)
        print(f"{name:12} " + "  ".join(f"{s:.3f} s" for s in spent))
        worst = max(worst, *spent)
        lift = max(spent) if name == "lift" else lift
    return worst, lift


def time_items(opened: OpenStudy) -> None:
    """Time the items of a point, and a search in them."""
    view, pick = make_view(opened.grid), Pick(arm="persona")
    for what, wanted in (
        ("all items", ItemFilter()),
        ("flips that differ", ItemFilter("flips", only_different=True)),
        ("a search", ItemFilter(text="lively 77")),
    ):
        seconds, page = timed(lambda w=wanted: item_page(opened, view, pick, w, 1))
        print(f"items, {what}: {seconds:.3f} s, {page.total:,} of them")


def naive_lift(store: Store, run_id: str, filters: Filters) -> int:
    """Compute figure 4 without a grid, bootstrapping each cell; return how many there are."""
    rows = read_study(store, run_id).rows
    rows = rows[rows["accuracy"].notna()]
    neutral = rows[rows["arm"] == "neutral"]
    rows = rows[rows["persona"].isin(filters.personas) & rows["length"].isin(filters.lengths)]
    cells = 0
    for (_, category), part in rows.groupby(["persona", "category"]):
        control = neutral[neutral["category"] == category]
        pairs = pair(scores(part), scores(control))
        paired_difference(pairs, bounds=(0.0, 1.0))
        cells += 1
    return cells


def scores(rows: pd.DataFrame) -> ItemScores:
    return item_scores(rows["item"].tolist(), rows["accuracy"].tolist())


def timed(work: Callable[[], T]) -> tuple[float, T]:
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


def write_study(store: Store, rows: int) -> str:
    """Store a study's run with its records, as a finished study leaves them; return its id."""
    people = list(load_personas().values())[:13]
    spec = StudySpec(
        name="Benchmark",
        personas=tuple(p.name for p in people),
        lengths=("min", "short", "long"),
        placements=("system", "user"),
    )
    run = store.create_run("study", spec.name, pack(spec))
    cells, _ = cells_of(spec, people)
    items = make_items(rows // len(cells))
    records = StudyRecords(store, run.id)
    records.keep_items(items)
    facts = ModelFacts("embedded", "Benchmark model", "none", True, "cloze")
    records.keep_model(0, ModelPart(facts, cells))
    random = np.random.default_rng(0)
    answers: list[Answer] = []
    for cell in cells:
        for had in items.values():
            answers += [answer_of(cell.label, item, random) for item in had]
    for start in range(0, len(answers), BATCH):
        part = answers[start : start + BATCH]
        records.keep_answers(part)
        judged = [a for a in part if a.turns and a.cell != "neutral"]
        draws = random.random((len(judged), 2))
        records.keep_judgements(
            JudgedAnswer(a.key, float(x), float(y)) for a, (x, y) in zip(judged, draws, strict=True)
        )
    return run.id


def make_items(number: int) -> dict[str, tuple[Item, ...]]:
    """Make four fifths choices, one fifth written answers."""
    written = number // 5
    choices = [
        Item(
            f"k{i}",
            "knowledge",
            KNOWLEDGE[i % 4],
            "choice",
            f"Question {i}?",
            ("one", "two", "three", "four"),
            i % 4,
        )
        for i in range(number - written)
    ]
    others = [Item(f"o{i}", "open", OPEN[i % 4], "open", f"Write {i}.") for i in range(written)]
    return {"knowledge": tuple(choices), "open": tuple(others)}


def answer_of(cell: str, item: Item, random: np.random.Generator) -> Answer:
    if item.kind == "choice":
        logprobs = random.normal(-4, 1, size=4).round(4)
        return Answer(
            0, cell, item.task, item.id, 0, logprobs=tuple(logprobs.tolist()), lengths=(2, 2, 2, 2)
        )
    text = f"A lively {random.integers(1000)} answer. " * int(random.integers(5, 20))
    return Answer(0, cell, item.task, item.id, 0, (text,), tokens=60, prompt_tokens=200)


if __name__ == "__main__":
    main()
