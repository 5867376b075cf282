"""A reinforcement-learning run on the page: where it stands, sample answers, curves, results."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from app.common.charts import FIRST, PALE, SECOND, THIRD, figure, say
from app.common.estimates import short, table
from app.common.run_views import duration, run_progress, run_state
from app.common.text import escape, notice
from app.rl.story import RlStory
from prism_core.rl.records import RolloutRecord, StepRecord
from prism_core.rl.tasks import get_family

ARM_TITLES = {
    "rlvr": "RLVR, without personas",
    "permix": "PerMix-RLVR, personas mixed in",
    "sft": "SFT on gold answers",
}


def rl_panel(story: RlStory, position: int | None) -> str:
    """Title, state, choices, progress and ending of a run."""
    run, spec = story.run, story.spec
    family = get_family(spec.family)
    level = story.result.level_name if story.result else _level(story)
    facts = f"{ARM_TITLES[spec.arm]} · {family.title}{f', {level}' if level else ''}"
    return (
        '<section class="px-run">'
        f'<header><h2>{escape(run.title)}</h2><span class="px-state px-state-{run.status}">'
        f"{escape(run_state(run, position))}</span></header>"
        f'<p class="px-help">{escape(facts)}</p>{_probe(story)}{run_progress(run, position)}'
        f"{_ending(story)}</section>"
    )


def _level(story: RlStory) -> str:
    levels = get_family(story.spec.family).levels
    return levels[story.spec.level].name if story.spec.level >= 0 else ""


def _probe(story: RlStory) -> str:
    if not story.probe:
        return ""
    found = "; ".join(f"{rate.name}: {short(rate.rate)}" for rate in story.probe)
    return f'<p class="px-help">The base model solves {escape(found)}.</p>'


def _ending(story: RlStory) -> str:
    run, result = story.run, story.result
    if run.status == "failed":
        return notice("error", run.message or "It failed.")
    if run.status == "cancelled":
        line = "Cancelled. Resume goes on from the last checkpoint."
        return notice("warn", line)
    if run.status != "done" or result is None:
        return ""
    rose = result.gain.low is not None and result.gain.low > 0
    first = "The reward on held-out questions rose." if rose else "No clear rise of the reward."
    return notice(
        "done" if rose else "warn", f"{first} It took {duration(result.seconds)}.", result.notes
    )


def rl_results(story: RlStory) -> str:
    """The numbers of a finished run."""
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
    """The latest sample answers with their verdicts."""
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


_WINDOW = 5


def reward_figure(steps: Sequence[StepRecord]) -> go.Figure:
    """Mean reward of each step, and its running mean."""
    made = figure("Reward", "step", "share of answers that are right", height=260)
    found = [(s.step, s.reward) for s in steps if s.reward is not None]
    if not found:
        return say(made, "No step has been made yet.")
    xs, ys = [x for x, _ in found], [y for _, y in found]
    made.add_scatter(x=xs, y=ys, name="each step", mode="lines+markers", line_color=PALE)
    made.add_scatter(
        x=xs,
        y=running_mean(ys),
        name=f"mean of {_WINDOW} steps",
        line={"color": FIRST, "width": 2.5},
    )
    return made.update_yaxes(range=[0, 1.02])


def loss_figure(steps: Sequence[StepRecord]) -> go.Figure:
    """The supervised arm's loss."""
    made = figure("Loss on the gold answers", "step", "nats a token", height=260)
    found = [(s.step, s.loss) for s in steps if s.loss is not None]
    if not found:
        return say(made, "No step has been made yet.")
    made.add_scatter(x=[x for x, _ in found], y=[y for _, y in found], line_color=FIRST)
    return made.update_yaxes(rangemode="tozero")


def kl_figure(steps: Sequence[StepRecord]) -> go.Figure:
    """How far the model has moved from the base."""
    made = figure("KL to the base model", "step", "nats a token", height=240)
    found = [(s.step, s.kl) for s in steps if s.kl is not None]
    if not found:
        return say(made, "Not measured yet.")
    made.add_scatter(
        x=[x for x, _ in found], y=[y for _, y in found], mode="lines+markers", line_color=SECOND
    )
    return made.update_yaxes(rangemode="tozero")


def length_figure(steps: Sequence[StepRecord]) -> go.Figure:
    """How long the answers are."""
    made = figure("Length of the answers", "step", "tokens", height=240)
    found = [(s.step, s.length) for s in steps if s.length is not None]
    if not found:
        return say(made, "Not measured yet.")
    made.add_scatter(x=[x for x, _ in found], y=[y for _, y in found], line_color=THIRD)
    return made.update_yaxes(rangemode="tozero")


def running_mean(values: Sequence[float]) -> list[float]:
    """Mean of each value and the up to four before it."""
    return [
        sum(values[max(0, i - _WINDOW + 1) : i + 1]) / len(values[max(0, i - _WINDOW + 1) : i + 1])
        for i in range(len(values))
    ]
