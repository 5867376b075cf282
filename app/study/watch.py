"""Watching a study: its state, and the way to its results as soon as there are some."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.common.run_watch import Controls, RunWatcher, Watched, build_controls
from app.common.shared import Updates
from app.study.views import study_panel
from prism_core.storage import RunRow
from prism_core.study.records import ANSWERS

STUDYING = Watched(
    kind="study",
    noun="study",
    plural="studies",
    key="study",
    question="Delete this study and its answers?",
    prefix="px-study",
    renamed={
        "id": "px-study-run",
        "delete": "px-study-run-delete",
        "confirm": "px-study-run-confirm",
        "status": "px-study-run-status",
    },
)


@dataclass(frozen=True)
class StudyWatch(Controls):
    """The components around a study's run."""

    explore: gr.Button

    @property
    def details(self) -> list[Any]:
        """The way to the results."""
        return [self.explore]


def build_study_watch() -> StudyWatch:
    """Lay the study's run out; it is hidden until there is one."""
    explore = gr.Button(
        "Explore the results",
        variant="primary",
        visible=False,
        elem_id="px-study-explore",
        render=False,
    )
    return StudyWatch(**build_controls(STUDYING, (0, explore)), explore=explore)


@dataclass(frozen=True)
class StudyWatcher(RunWatcher):
    """The listeners around one study's run."""

    what = STUDYING

    watch: StudyWatch

    def show(self, run: RunRow, position: int | None, is_mine: bool, seen: object) -> Updates:
        """See `RunWatcher.show`."""
        answers = self.store.count_records(run.id).get(ANSWERS, 0)
        word = "Explore the results" if run.status == "done" else "Explore partial results"
        return {
            self.watch.panel: study_panel(run, position, answers),
            self.watch.explore: gr.Button(word, visible=answers > 0),
        }
