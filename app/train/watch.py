"""Watching a training run: its state and its figures, which are only sent when they changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.common.run_watch import Controls, RunWatcher, Watched, build_controls
from app.common.shared import Updates
from app.train.story import Story, read_story, titles_of
from app.train.views.charts import distill_figure, gate_curve_figure, routes_figure
from app.train.views.progress import run_panel
from prism_core.storage import RunRow
from prism_core.types import Persona

TRAINING = Watched(
    kind="train",
    key="run",
    question="Delete this run, its answers and its adapter?",
    prefix="px-run",
    renamed={"watch": "px-watch", "runs": "px-runs"},
)


@dataclass(frozen=True)
class TrainWatch(Controls):
    """The components around a run."""

    mark: gr.Textbox
    """Changes with the findings."""
    routes: gr.Plot
    gate: gr.Plot
    distil: gr.Plot

    @property
    def details(self) -> list[Any]:
        """The figures and the mark."""
        return [self.routes, self.gate, self.distil, self.mark]


def build_watch() -> TrainWatch:
    """Lay the run out; it is hidden until there is one."""
    mark = gr.Textbox(visible="hidden", elem_id="px-run-mark")
    parts = build_controls(TRAINING)
    with parts["box"]:
        parts["routes"] = gr.Plot(show_label=False, elem_id="px-routes")
        with gr.Row(elem_classes="px-row px-plots"):
            parts["gate"] = gr.Plot(show_label=False, elem_id="px-gate-curve", min_width=300)
            parts["distil"] = gr.Plot(show_label=False, elem_id="px-distil-curve", min_width=300)
    return TrainWatch(**parts, mark=mark)


@dataclass(frozen=True)
class TrainWatcher(RunWatcher):
    """The listeners around one run."""

    what = TRAINING

    watch: TrainWatch
    library: Mapping[str, Persona]

    def show(self, run: RunRow, position: int | None, is_mine: bool, seen: object) -> Updates:
        """See `RunWatcher.show`."""
        watch, story = self.watch, read_story(self.store, run)
        titles = titles_of(story.spec, self.library)
        before = seen if isinstance(seen, dict) and seen.get("run") == run.id else {}
        now = {"run": run.id, **_signatures(story)}
        figures = {
            plot: gr.Plot(draw(), visible=bool(parts))
            for name, plot, parts, draw in (
                ("routes", watch.routes, story.routes, lambda: routes_figure(story.routes, titles)),
                ("gate", watch.gate, story.gate_curve, lambda: gate_curve_figure(story.gate_curve)),
                ("distil", watch.distil, story.curve, lambda: distill_figure(story.curve)),
            )
            if now[name] != before.get(name)
        }
        panel = run_panel(story, position)
        return {watch.panel: panel, **figures, watch.seen: now, watch.mark: now["mark"]}

    def forget(self) -> Updates:
        """See `RunWatcher.forget`."""
        return {**super().forget(), self.watch.mark: ""}


def _signatures(story: Story) -> dict[str, str]:
    """Return short texts that change when the parts of the page have to."""
    counts = story.counts
    routes = str([(r.distill, r.retain, r.waiting) for r in story.routes])
    parts = ("verification", "judge_check", "gate", "distillation", "ablation", "result")
    mark = f"{story.run.id} " + " ".join(f"{counts.get(p, 0)}" for p in parts)
    distil = str((len(story.curve), story.run.status))
    return {"routes": routes, "gate": str(len(story.gate_curve)), "distil": distil, "mark": mark}
