"""Figures of a training run: routes, learning curves, and how well the gate tells queries apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from app.common.charts import FIRST, INK, PALE, SECOND, THIRD, figure, say
from app.common.estimates import short
from app.train.story import RouteTally
from prism_core.errors import StatisticsError
from prism_core.prism.distillation.report import CurvePoint
from prism_core.prism.gating.report import GateEpoch, GateReport, GateRow
from prism_core.stats import precision_recall_curve, roc_curve

_DOTTED = {"color": PALE, "dash": "dot"}


def routes_figure(routes: Sequence[RouteTally], titles: Mapping[str, str]) -> go.Figure:
    """Distilled and retained questions by persona, as bars that fill up."""
    rows = list(reversed(routes))
    names = [titles.get(r.persona, r.persona) for r in rows]
    made = figure(
        "Where each persona's questions go",
        "questions",
        "",
        height=150 + 26 * max(2, len(rows)),
        layout={"barmode": "stack", "bargap": 0.35},
    )
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
    made.update_layout(legend={"y": -0.45 if len(rows) < 5 else -0.16, "traceorder": "normal"})
    most = max((r.distill + r.retain + r.waiting for r in rows), default=0)
    made.update_xaxes(dtick=1 if most <= 10 else None, rangemode="tozero")
    return made if rows else say(made, "No question has been written yet.")


def gate_curve_figure(curve: Sequence[GateEpoch]) -> go.Figure:
    """The gate's loss on the training and the held-out part."""
    made = figure("The gate learns", "epoch", "cross-entropy (nats)", height=280)
    if not curve:
        return say(made, "The gate has not been trained yet.")
    epochs = [p.epoch for p in curve]
    made.add_scatter(x=epochs, y=[p.train for p in curve], name="training", line_color=FIRST)
    held = [(p.epoch, p.held_out) for p in curve if p.held_out is not None]
    if held:
        made.add_scatter(
            x=[e for e, _ in held],
            y=[v for _, v in held],
            name="held out",
            line={"color": THIRD, "dash": "dot"},
        )
    return made


def distill_figure(curve: Sequence[CurvePoint]) -> go.Figure:
    """The training loss of each step, and the KL on held-out answers."""
    made = figure("The student approaches the persona", "step", "nats a token", height=280)
    steps = [(p.step, p.loss) for p in curve if p.loss is not None]
    held = [(p.step, p.held_out) for p in curve if p.held_out is not None]
    if not steps and not held:
        return say(made, "Distillation has not begun yet.")
    if steps:
        made.add_scatter(
            x=[s for s, _ in steps],
            y=[v for _, v in steps],
            name="training loss",
            line={"color": PALE, "width": 1.5},
        )
    if held:
        made.add_scatter(
            x=[s for s, _ in held],
            y=[v for _, v in held],
            name="KL to the persona, held out",
            mode="lines+markers",
            line={"color": FIRST, "width": 2.5},
        )
    return made.update_yaxes(rangemode="tozero")


def held_rows(report: GateReport) -> tuple[list[bool], list[float]]:
    """Labels and probabilities of the held-out part."""
    rows: list[GateRow] = [row for row in report.rows if row.held_out]
    return [row.distill for row in rows], [row.probability for row in rows]


def roc_figure(report: GateReport, threshold: float) -> go.Figure:
    """ROC on the held-out part, with the threshold in use."""
    made = figure(
        f"ROC: area {short(report.held_out.auc)}",
        "false positive rate",
        "true positive rate",
        unit=True,
    )
    labels, given = held_rows(report)
    try:
        curve = roc_curve(labels, given)
    except StatisticsError:
        return say(made, "The held-out questions are all of one kind.")
    made.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line=_DOTTED, name="a coin", hoverinfo="skip"
    )
    made.add_scatter(
        x=curve.false_positive_rate,
        y=curve.true_positive_rate,
        mode="lines",
        line={"color": FIRST, "width": 2.5},
        name="the gate",
        customdata=[min(t, 1.0) for t in curve.thresholds],
        hovertemplate="threshold %{customdata:.2f}<br>%{x:.0%} false, %{y:.0%} true<extra></extra>",
    )
    wins, losses = sum(labels), len(labels) - sum(labels)
    opened = [p >= threshold for p in given]
    hits = sum(o and w for o, w in zip(opened, labels, strict=True)) / wins
    alarms = sum(o and not w for o, w in zip(opened, labels, strict=True)) / losses
    return _mark(made, alarms, hits, threshold)


def pr_figure(report: GateReport, threshold: float) -> go.Figure:
    """Precision against recall on the held-out part."""
    quality = report.held_out
    made = figure(
        f"Precision and recall: mean {short(quality.average_precision)}",
        "recall",
        "precision",
        unit=True,
    )
    labels, given = held_rows(report)
    try:
        curve = precision_recall_curve(labels, given)
    except StatisticsError:
        return say(made, "The held-out questions are all of one kind.")
    if quality.share.value is not None:
        made.add_scatter(
            x=[0, 1],
            y=[quality.share.value] * 2,
            mode="lines",
            line=_DOTTED,
            name="guessing",
            hoverinfo="skip",
        )
    made.add_scatter(
        x=curve.recall,
        y=curve.precision,
        mode="lines",
        line={"color": FIRST, "width": 2.5},
        name="the gate",
        customdata=curve.thresholds,
        hovertemplate="threshold %{customdata:.2f}<br>precision %{y:.0%}, recall %{x:.0%}"
        "<extra></extra>",
    )
    opened = [w for w, p in zip(labels, given, strict=True) if p >= threshold]
    if not opened:
        return made
    return _mark(made, sum(opened) / sum(labels), sum(opened) / len(opened), threshold)


def calibration_figure(report: GateReport) -> go.Figure:
    """What the gate said against what happened, in bins."""
    found = report.held_out.calibration
    made = figure(
        f"Calibration: Brier {short(found.brier)}",
        "the gate's probability",
        "share where the persona won",
        unit=True,
    )
    if not found.bins:
        return say(made, "No question was held out.")
    made.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line=_DOTTED, name="perfect", hoverinfo="skip"
    )
    values = [b.observed.value or 0.0 for b in found.bins]
    made.add_scatter(
        x=[b.mean_probability for b in found.bins],
        y=values,
        mode="markers",
        name="the gate, with 95 % intervals",
        marker={"color": FIRST, "size": 9},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [_gap(b.observed.high, v) for b, v in zip(found.bins, values, strict=True)],
            "arrayminus": [
                _gap(v, b.observed.low) for b, v in zip(found.bins, values, strict=True)
            ],
            "color": INK,
            "thickness": 1.2,
        },
        customdata=[b.observed.n for b in found.bins],
        hovertemplate="said %{x:.2f}, happened %{y:.2f} (n=%{customdata})<extra></extra>",
    )
    return made


def _gap(high: float | None, low: float | None) -> float:
    return 0.0 if high is None or low is None else max(0.0, high - low)


def _mark(made: go.Figure, x: float, y: float, threshold: float) -> go.Figure:
    return made.add_scatter(
        x=[x],
        y=[y],
        mode="markers",
        name=f"threshold {threshold:.2f}",
        marker={"color": THIRD, "size": 12, "symbol": "diamond", "line": {"width": 1.5}},
        hovertemplate="%{x:.0%}, %{y:.0%}<extra></extra>",
    )
