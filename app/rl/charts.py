"""The live curves of a reinforcement-learning run: reward, KL, length."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from app.common.charts import FIRST, PALE, SECOND, THIRD, figure, say
from prism_core.rl.records import StepRecord

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
