"""Watching a reinforcement-learning run: its curves, sample answers and results.

Figures are only sent when they changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.common.run_watch import Controls, RunWatcher, Watched, build_controls
from app.common.shared import Updates, fragment
from app.rl.views import (
    RlStory,
    curve_figure,
    read_rl_story,
    reward_figure,
    rl_panel,
    rl_results,
    rollouts_html,
)
from prism_core.prism.bundle_files import ADAPTER_FOLDER, INFO_FILE
from prism_core.storage import RunRow

REINFORCED = Watched(
    kind="rl",
    key="rl",
    question="Delete this run and its adapter?",
    prefix="px-rl",
    renamed={"status": "px-rl-message"},
)


@dataclass(frozen=True)
class RlWatch(Controls):
    """The components around a run."""

    reward: gr.Plot
    kl: gr.Plot
    length: gr.Plot
    results: gr.HTML
    rollouts: gr.HTML
    try_it: gr.Button

    @property
    def details(self) -> list[Any]:
        """The figures, what came out, and the way to try it."""
        figures = [self.reward, self.kl, self.length]
        return [*figures, self.results, self.rollouts, self.try_it]


def build_rl_watch() -> RlWatch:
    """Lay the run out; it is hidden until there is one."""
    try_it = gr.Button(
        "Try it in Compare", variant="primary", visible=False, elem_id="px-rl-try", render=False
    )
    parts = build_controls(REINFORCED, (2, try_it))
    with parts["box"]:
        parts["results"] = fragment(elem_id="px-rl-results")
        parts["reward"] = gr.Plot(show_label=False, elem_id="px-rl-reward")
        with gr.Row(elem_classes="px-row px-plots"):
            parts["kl"] = gr.Plot(show_label=False, elem_id="px-rl-kl", min_width=300)
            parts["length"] = gr.Plot(show_label=False, elem_id="px-rl-length", min_width=300)
        parts["rollouts"] = fragment(elem_id="px-rl-rollouts")
    return RlWatch(**parts, try_it=try_it)


@dataclass(frozen=True)
class RlWatcher(RunWatcher):
    """The listeners around one run."""

    what = REINFORCED

    watch: RlWatch

    def show(self, run: RunRow, position: int | None, is_mine: bool, seen: object) -> Updates:
        """See `RunWatcher.show`."""
        watch, story = self.watch, read_rl_story(self.store, run)
        has_adapter = run.status == "done" and (run.path / ADAPTER_FOLDER / INFO_FILE).is_file()
        return {
            watch.panel: rl_panel(story, position),
            **({} if seen == story.mark else self._figures(story)),
            watch.results: rl_results(story),
            watch.rollouts: rollouts_html(story),
            watch.try_it: gr.Button(visible=is_mine and has_adapter),
            watch.seen: story.mark,
        }

    def _figures(self, story: RlStory) -> Updates:
        watch, steps = self.watch, story.steps
        if story.spec.arm == "sft":
            hidden = gr.Plot(visible=False)
            shown = gr.Plot(curve_figure(steps, "loss"), visible=True)
            return {watch.reward: shown, watch.kl: hidden, watch.length: hidden}
        figures = {
            watch.reward: reward_figure(steps),
            watch.kl: curve_figure(steps, "kl"),
            watch.length: curve_figure(steps, "length"),
        }
        return {plot: gr.Plot(drawn, visible=bool(steps)) for plot, drawn in figures.items()}
