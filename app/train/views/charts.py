"""Figures of a training run: routes, learning curves, and how well the gate tells queries apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from app.common.charts import FIRST, SECOND, THIRD, draw_series, figure, say
from app.common.text import short
from app.train.story import RouteTally
from prism_core.errors import StatisticsError
from prism_core.figures.colours import INK, PALE
from prism_core.figures.marks import bars_of
from prism_core.prism.distillation.report import CurvePoint
from prism_core.prism.gating.report import GateEpoch, GateReport, topics_of
from prism_core.stats import confusion_at, precision_recall_curve, roc_curve

_DOTTED = {"color": PALE, "dash": "dot"}


def routes_figure(routes: Sequence[RouteTally], titles: Mapping[str, str]) -> go.Figure:
    """Draw the distilled and retained questions by persona, as bars that fill up."""
    rows = list(reversed(routes))
    names = [titles.get(r.persona, r.persona) for r in rows]
    height = 150 + 26 * max(2, len(rows))
    made = figure("Where each persona's questions go", "questions", "", height=height)
    for label, counts, colour, pattern in (
        ("distil: the persona won", [r.distill for r in rows], FIRST, ""),
        ("retain: it did not", [r.retain for r in rows], SECOND, "/"),
        ("not judged yet", [r.waiting for r in rows], PALE, "."),
    ):
        made.add_bar(
            x=counts,
            y=names,
            orientation="h",
            name=label,
            marker={"color": colour, "pattern": {"shape": pattern}},
            hovertemplate="%{y}: %{x}<extra>" + label + "</extra>",
        )
    legend = {"y": -0.45 if len(rows) < 5 else -0.16, "traceorder": "normal"}
    made.update_layout(barmode="stack", bargap=0.35, legend=legend)
    most = max((r.distill + r.retain + r.waiting for r in rows), default=0)
    made.update_xaxes(dtick=1 if most <= 10 else None, rangemode="tozero")
    return made if rows else say(made, "No question has been written yet.")


def gate_curve_figure(curve: Sequence[GateEpoch]) -> go.Figure:
    """Draw the gate's loss on the training and the held-out part."""
    made = figure("The gate learns", "epoch", "cross-entropy (nats)", height=280)
    epochs = [p.epoch for p in curve]
    drawn = draw_series(made, epochs, [p.train for p in curve], "training", line_color=FIRST)
    dotted = _DOTTED | {"color": THIRD}
    draw_series(made, epochs, [p.held_out for p in curve], "held out", line=dotted)
    return made if drawn else say(made, "The gate has not been trained yet.")


def distill_figure(curve: Sequence[CurvePoint]) -> go.Figure:
    """Draw the training loss of each step, and the KL on held-out answers."""
    made = figure("The student approaches the persona", "step", "nats a token", height=280)
    steps = [p.step for p in curve]
    thin, thick = {"color": PALE, "width": 1.5}, {"color": FIRST, "width": 2.5}
    held_out, look = [p.held_out for p in curve], {"mode": "lines+markers", "line": thick}
    drawn = draw_series(made, steps, [p.loss for p in curve], "training loss", line=thin)
    drawn += draw_series(made, steps, held_out, "KL to the persona, held out", **look)
    if not drawn:
        return say(made, "Distillation has not begun yet.")
    return made.update_yaxes(rangemode="tozero")


def held_rows(report: GateReport) -> tuple[list[bool], list[float]]:
    """Return labels and probabilities of the held-out part."""
    rows = [row for row in report.rows if row.held_out]
    return [row.distill for row in rows], [row.probability for row in rows]


def held_topics(report: GateReport) -> list[str]:
    """Return the topic of each held-out question; rows of one topic are alike."""
    return topics_of([row for row in report.rows if row.held_out])


def roc_figure(report: GateReport, threshold: float) -> go.Figure:
    """Draw the ROC on the held-out part, with the threshold in use."""
    title = f"ROC: area {short(report.held_out.auc)}"
    made = figure(title, "false positive rate", "true positive rate", unit=True)
    labels, given = held_rows(report)
    try:
        curve = roc_curve(labels, given)
    except StatisticsError:
        return say(made, "The held-out questions are all of one kind.")
    _reference(made, "a coin", 0, 1)
    shown = [min(t, 1.0) for t in curve.thresholds]  # the first one lies above every probability
    hover = "%{x:.0%} false, %{y:.0%} true"
    _gate_line(made, curve.false_positive_rate, curve.true_positive_rate, shown, hover)
    at, wins = confusion_at(labels, given, threshold), sum(labels)
    alarms, hits = at.false_positive / (len(labels) - wins), at.true_positive / wins
    return _mark(made, alarms, hits, threshold)


def pr_figure(report: GateReport, threshold: float) -> go.Figure:
    """Draw precision against recall on the held-out part."""
    quality = report.held_out
    title = f"Precision and recall: mean {short(quality.average_precision)}"
    made = figure(title, "recall", "precision", unit=True)
    labels, given = held_rows(report)
    try:
        curve = precision_recall_curve(labels, given)
    except StatisticsError:
        return say(made, "The held-out questions are all of one kind.")
    if quality.share.value is not None:
        _reference(made, "guessing", quality.share.value, quality.share.value)
    hover = "precision %{y:.0%}, recall %{x:.0%}"
    _gate_line(made, curve.recall, curve.precision, curve.thresholds, hover)
    at = confusion_at(labels, given, threshold)
    opened = at.true_positive + at.false_positive
    if not opened:
        return made
    return _mark(made, at.true_positive / sum(labels), at.true_positive / opened, threshold)


def calibration_figure(report: GateReport) -> go.Figure:
    """Draw what the gate said against what happened, in bins."""
    found = report.held_out.calibration
    title = f"Calibration: Brier {short(found.brier)}"
    made = figure(title, "the gate's probability", "share where the persona won", unit=True)
    if not found.bins:
        return say(made, "No question was held out.")
    _reference(made, "perfect", 0, 1)
    observed = [b.observed for b in found.bins]
    return made.add_scatter(
        x=[b.mean_probability for b in found.bins],
        y=[e.value or 0.0 for e in observed],
        mode="markers",
        name="the gate, with 95 % intervals",
        marker={"color": FIRST, "size": 9},
        error_y=bars_of(observed, INK) | {"thickness": 1.2, "width": 4},
        customdata=[e.n for e in observed],
        hovertemplate="said %{x:.2f}, happened %{y:.2f} (n=%{customdata})<extra></extra>",
    )


def _reference(made: go.Figure, name: str, left: float, right: float) -> None:
    """Draw a dotted line across a figure whose axes run from 0 to 1."""
    made.add_scatter(
        x=[0, 1], y=[left, right], mode="lines", line=_DOTTED, name=name, hoverinfo="skip"
    )


def _gate_line(
    made: go.Figure, x: Sequence[float], y: Sequence[float], thresholds: Sequence[float], hover: str
) -> None:
    made.add_scatter(
        x=x,
        y=y,
        mode="lines",
        line={"color": FIRST, "width": 2.5},
        name="the gate",
        customdata=thresholds,
        hovertemplate=f"threshold %{{customdata:.2f}}<br>{hover}<extra></extra>",
    )


def _mark(made: go.Figure, x: float, y: float, threshold: float) -> go.Figure:
    return made.add_scatter(
        x=[x],
        y=[y],
        mode="markers",
        name=f"threshold {threshold:.2f}",
        marker={"color": THIRD, "size": 12, "symbol": "diamond", "line": {"width": 1.5}},
        hovertemplate="%{x:.0%}, %{y:.0%}<extra></extra>",
    )
