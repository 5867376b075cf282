"""The study that comes with PRISM Studio: whole, as its spec says, and what Explore opens on."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.services.settings import Settings
from app.services.study_shelf import StudyImports, StudyShelf
from prism_core.analysis import Filters, make_grid, make_view
from prism_core.figures import FIGURES, FigureOptions
from prism_core.models.local import LocalModel
from prism_core.storage import Store
from prism_core.study.choice_scoring import score_choice_items
from prism_core.study.choices import picked
from prism_core.study.file import load_study
from prism_core.study.plan import plan_study
from prism_core.study.spec import from_yaml
from prism_core.study.table import Study
from prism_core.tasks import get_task
from prism_core.types import Message, PromptVariant, Sampling
from prism_core.utils.assets import ASSETS

FOLDER = ASSETS / "studies"
PAPER = (
    "writing",
    "roleplay",
    "reasoning",
    "math",
    "coding",
    "extraction",
    "stem",
    "humanities",
    "critic",
    "safety_monitor",
    "helpful",
    "compliant",
)


@pytest.fixture(scope="module")
def study() -> Study:
    return load_study(FOLDER / "embedded.parquet")


def test_it_is_what_its_spec_asks_for(study: Study) -> None:
    spec = from_yaml((FOLDER / "embedded.yaml").read_text(encoding="utf-8"))
    assert study.spec == spec and study.finished
    assert (FOLDER / "embedded.parquet").stat().st_size < 3_000_000
    assert len(study.rows) == plan_study(spec).answers
    rows = study.rows[study.rows["persona"].isin(PAPER)]
    cells = rows[["persona", "length", "placement"]].drop_duplicates()
    assert len(cells) == 12 * 3 * 2
    assert set(study.rows["arm"]) == {"neutral", "persona", "adapter"}
    assert study.rows.groupby("cell").size().nunique() == 1  # every cell answered every item


def test_the_model_of_today_answers_as_the_file_says(study: Study, model: LocalModel) -> None:
    neutral = study.rows[study.rows["cell"] == "neutral"].set_index("item")
    assert set(study.rows["model"]) == {model.name}
    items = {item.id: item for name in ("knowledge", "open") for item in get_task(name).load()}
    choices = neutral[neutral["kind"] == "choice"]
    assert choices["accuracy"].mean() > 0.6  # the suite's aim, far above the chance of 1/4
    asked = [items[name] for name in choices.index[:8]]
    rows = score_choice_items(model, PromptVariant(), asked, "cloze")
    assert [picked(row, "cloze") for row in rows] == list(choices["choice"][:8])
    written = neutral[neutral["task"] == "open"][:4]
    prompts = [(Message("user", items[name].question),) for name in written.index]
    answers = model.generate(prompts, Sampling(max_new_tokens=48))
    alike = sum(a.text == text for a, text in zip(answers, written["text"], strict=True))
    assert alike >= 3  # another processor may round a likeliest token differently


def test_explore_opens_on_it_and_every_figure_can_be_drawn(study: Study, tmp_path: Path) -> None:
    with Store(home=tmp_path / "home") as store:
        shelf = StudyShelf(store, StudyImports(tmp_path / "imports", Settings()))
        first = shelf.entries(None)[0]
        assert first.title.startswith(study.spec.name)
        assert shelf.open(first.id).grid.answers == len(study.rows)
    view = make_view(make_grid(study.rows), Filters())
    empty = [name for name, kind in FIGURES.items() if kind(view, FigureOptions()).is_empty]
    assert set(empty) <= {"judge"}  # nobody judged: the model cannot
