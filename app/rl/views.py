"""A reinforcement-learning run, read from the store: state, sample answers, curves, results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import plotly.graph_objects as go

from app.common.charts import FIRST, SECOND, THIRD, draw_series, figure, say
from app.common.run_views import duration, run_card, run_ending
from app.common.text import escape, notice, short, table
from prism_core.figures.colours import PALE
from prism_core.rl.probe import LevelRate
from prism_core.rl.records import METRICS, ROLLOUTS, RolloutRecord, StepRecord
from prism_core.rl.result import LEVEL_STAGE, RlResult, load_rl_result
from prism_core.rl.spec import RlSpec
from prism_core.rl.tasks import get_family
from prism_core.storage import RunRow, Store, unpack
from prism_core.storage.journal import StoreJournal

ARM_TITLES = {
    "rlvr": "RLVR, without personas",
    "permix": "PerMix-RLVR, personas mixed in",
    "sft": "SFT on gold answers",
}
SHOWN_ROLLOUTS = 8
_WINDOW = 5
Curve = Literal["loss", "kl", "length"]
_CURVES: dict[Curve, tuple[str, str, int, dict[str, str]]] = {
    "loss": ("Loss on the gold answers", "nats a token", 260, {"line_color": FIRST}),
    "kl": (
        "KL to the base model",
        "nats a token",
        240,
        {"mode": "lines+markers", "line_color": SECOND},
    ),
    "length": ("Length of the answers", "tokens", 240, {"line_color": THIRD}),
}
"""Title, unit, height in pixels and look of each curve."""


@dataclass(frozen=True)
class RlStory:
    """One run as it stands; what it has not done yet is missing."""

    run: RunRow
    spec: RlSpec
    probe: tuple[LevelRate, ...]
    steps: tuple[StepRecord, ...]
    rollouts: tuple[tuple[int, RolloutRecord], ...]
    """The latest sample answers with their steps, newest first."""
    result: RlResult | None

    @property
    def mark(self) -> str:
        """A text that changes when there is something new to draw."""
        return f"{self.run.id} {len(self.steps)} {len(self.probe)} {self.run.status}"


def read_rl_story(store: Store, run: RunRow) -> RlStory:
    """Read what is known of a run; an `InputError` if another version wrote it."""
    steps = store.get_values(run.id, METRICS, StepRecord)
    keys = sorted(store.record_keys(run.id, ROLLOUTS))[-SHOWN_ROLLOUTS:]
    parts = store.get_records(run.id, ROLLOUTS) if keys else {}
    rollouts = [(int(k.split("-")[0]), unpack(RolloutRecord, parts[k])) for k in reversed(keys)]
    return RlStory(
        run=run,
        spec=unpack(RlSpec, dict(run.spec)),
        probe=tuple(store.get_values(run.id, LEVEL_STAGE, LevelRate).values()),
        steps=tuple(steps[k] for k in sorted(steps)),
        rollouts=tuple(rollouts),
        result=load_rl_result(StoreJournal(store, run.id)),
    )


def rl_panel(story: RlStory, position: int | None) -> str:
    """Show title, state, choices, progress and ending of a run."""
    spec, family = story.spec, get_family(story.spec.family)
    level = family.levels[spec.level].name if spec.level >= 0 else ""
    level = story.result.level_name if story.result else level
    facts = f"{ARM_TITLES[spec.arm]} · {family.title}{f', {level}' if level else ''}"
    about = f'<p class="px-help">{escape(facts)}</p>'
    if story.probe:
        found = "; ".join(f"{rate.name}: {short(rate.rate)}" for rate in story.probe)
        about += f'<p class="px-help">The base model solves {escape(found)}.</p>'
    kept = "Resume goes on from the last checkpoint."
    return run_card(story.run, position, about, run_ending(story.run, kept, _finish(story.result)))


def _finish(result: RlResult | None) -> str:
    if result is None:
        return ""
    rose = result.gain.low is not None and result.gain.low > 0
    first = "The reward on held-out questions rose." if rose else "No clear rise of the reward."
    return notice(
        "done" if rose else "warn", f"{first} It took {duration(result.seconds)}.", result.notes
    )


def rl_results(story: RlStory) -> str:
    """Tabulate the numbers of a finished run."""
    result = story.result
    if result is None:
        return ""
    rows = [
        ("Reward, base model", short(result.base), f"n = {result.base.n}"),
        ("Reward, adapter", short(result.trained), f"n = {result.trained.n}"),
        ("Gained, paired by question", short(result.gain), f"n = {result.gain.n}"),
        ("Greedy accuracy, base model", short(result.greedy_base), f"n = {result.greedy_base.n}"),
        ("Greedy accuracy, adapter", short(result.greedy_trained), ""),
        ("Gained, paired by question", short(result.greedy_gain), ""),
    ]
    return table("On held-out questions, with 95 % intervals", rows)


def rollouts_html(story: RlStory) -> str:
    """Show the latest sample answers with their verdicts."""
    if not story.rollouts:
        return ""
    items = "".join(_rollout(step, record) for step, record in story.rollouts)
    return f'<h3>Sample answers, newest first</h3><div class="px-pairs">{items}</div>'


def _rollout(step: int, record: RolloutRecord) -> str:
    mark = "right" if record.reward > 0 else "wrong"
    tone = "done" if record.reward > 0 else "queued"
    persona = f'<p class="px-help">Persona: {escape(record.persona)}</p>' if record.persona else ""
    return (
        f'<article class="px-pair px-rollout"><header><span>Step {step}</span>'
        f'<span class="px-state px-state-{tone}">{mark}</span></header>'
        f"<p>{escape(record.question)}</p>{persona}"
        f'<p class="px-text">{escape(record.text) or "(nothing)"}</p>'
        f'<p class="px-help">{escape(record.why)}</p></article>'
    )


def reward_figure(steps: Sequence[StepRecord]) -> go.Figure:
    """Draw the mean reward of each step, and its running mean."""
    made = figure("Reward", "step", "share of answers that are right", height=260)
    found = [(s.step, s.reward) for s in steps if s.reward is not None]
    if not found:
        return say(made, "No step has been made yet.")
    xs, ys = [x for x, _ in found], [y for _, y in found]
    draw_series(made, xs, ys, "each step", mode="lines+markers", line_color=PALE)
    windows = [ys[max(0, i - _WINDOW + 1) : i + 1] for i in range(len(ys))]
    means = [sum(window) / len(window) for window in windows]
    thick = {"color": FIRST, "width": 2.5}
    draw_series(made, xs, means, f"mean of {_WINDOW} steps", line=thick)
    return made.update_yaxes(range=[0, 1.02])


def curve_figure(steps: Sequence[StepRecord], field: Curve) -> go.Figure:
    """Draw a number of each step: the supervised arm's loss, the KL to the base, or the length."""
    title, unit, height, look = _CURVES[field]
    made = figure(title, "step", unit, height=height)
    values = [getattr(s, field) for s in steps]
    if not draw_series(made, [s.step for s in steps], values, None, **look):
        return say(made, "Not measured yet.")
    return made.update_yaxes(rangemode="tozero")
