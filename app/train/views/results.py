"""What a run has found: verdicts, the judge, the gate, the comparison, the adapter it leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pandas as pd

from app.common.text import bullets, count, escape, fold, notice, percent, short, table, tiles
from app.services.adapter_shelf import ShelfEntry
from app.train.story import Findings
from app.train.views.charts import held_rows, held_topics
from prism_core.prism.ablation.table import AblationCell, AblationTable
from prism_core.prism.gating.report import GateReport
from prism_core.prism.gating.settings import PAPER_THRESHOLD
from prism_core.prism.records import JudgedPair, Route
from prism_core.stats import Confusion, confusion_at
from prism_core.types import Completion

_JUDGES = {"self": "the model itself", "verifiable": "a program", "remote": "a remote model"}
ROUTE_NAMES: dict[Route, str] = {"distill": "distil", "retain": "retain"}
PAGE = 10
"""Judged questions on one page."""


def pairs_panel(
    shown: Sequence[JudgedPair], first: int, total: int, titles: Mapping[str, str]
) -> str:
    """Show a page of judged questions with both answers and both orders."""
    if not total:
        return notice("info", "No judged question fits. Change the filters to see more.")
    cards = "".join(_pair(one, titles) for one in shown)
    line = f"{first + 1} to {first + len(shown)} of {count(total, 'judged question')}"
    return f'<p class="px-help">{line}</p><div class="px-pairs">{cards}</div>'


def _pair(one: JudgedPair, titles: Mapping[str, str]) -> str:
    query, verdict = one.pair.query, one.verdict
    name = titles.get(query.persona, query.persona)
    winner = {"persona": "The persona won", "neutral": "The neutral answer won", "tie": "A tie"}
    wanted = ""
    if query.wanted is not None:
        wanted = " · persona wanted" if query.wanted else " · persona not wanted"
    return (
        '<article class="px-pair"><header>'
        f'<span class="px-route px-{one.route}">{ROUTE_NAMES[one.route]}</span>'
        f'<span class="px-detail">{escape(name)} · {escape(query.subtopic)}{wanted}</span></header>'
        f'<h3 dir="auto">{escape(query.text)}</h3><div class="px-diff">'
        f"{_answer('With the persona', one.pair.persona)}"
        f"{_answer('Neutral', one.pair.neutral)}</div>"
        f'<p class="px-orders"><b>{winner[verdict.winner]}.</b> '
        f"P(persona better): <b>{verdict.persona_first:.0%}</b> shown first, "
        f"<b>{verdict.persona_second:.0%}</b> shown second"
        f"{'' if verdict.is_consistent else '; the orders disagree'}.</p></article>"
    )


def _answer(title: str, answer: Completion) -> str:
    cut = ", cut at the limit" if answer.finish == "length" else ""
    return (
        f"<div><h4>{title} <small>{count(answer.tokens, 'token')}{cut}</small></h4>"
        f'<div class="px-text" dir="auto">{escape(answer.text) or "<i>empty</i>"}</div></div>'
    )


def judge_panel(found: Findings) -> str:
    """Show the judge check and what the verdicts can carry."""
    if found.report is None:
        return notice("info", "Nothing has been judged yet.")
    report, check = found.report, found.check
    above, rows = notice("warn", report.warning), []
    if check is None:
        line = "A program judged these answers, so no judge check was needed."
        above += f'<p class="px-help">{line}</p>'
    else:
        even = "50 % is even-handed."
        rows = [
            ("Judge check: score", percent(check.accuracy), "Known pairs; 50 % is a coin."),
            ("Judge check: orders agree", percent(check.order_consistency), "Same, both orders."),
            ("Judge check: chose the first answer", percent(check.first_preference), even),
            ("Judge check: chose the longer answer", percent(check.length_preference), even),
        ]
    bias = "Above 0: longer answers win (verbosity bias)."
    rows += [
        ("Persona won (distil)", percent(report.distill), "Chosen in both orders."),
        ("Ties", percent(report.ties), "No winner in both orders; retained."),
        ("Orders agree", percent(report.order_consistency), "On this run's own pairs."),
        ("Correlation of winning and length", short(report.verbosity), bias),
    ]
    return above + table("What the judge's verdicts can carry", rows)


def threshold_panel(report: GateReport, threshold: float) -> str:
    """Show what the gate does on the held-out questions at a threshold."""
    labels, given = held_rows(report)
    if not labels:
        return notice("info", "No question was held out, so no threshold can be examined.")
    at = confusion_at(labels, given, threshold, groups=held_topics(report))
    facts = (
        ("Share routed", percent(at.share_opened), "questions that the adapter answers"),
        ("Precision", percent(at.precision), "of those, where the persona helps"),
        ("Recall", percent(at.recall), "of where it helps, the share routed"),
    )
    return (
        f'{tiles(facts)}<p class="px-help">Held out: {at.true_positive} opened where it helps, '
        f"{at.false_positive} opened where it does not, {at.false_negative} closed where it would "
        f"help, {at.true_negative} closed where it would not.</p>"
    )


def gate_summary(report: GateReport) -> str:
    """Say what the gate reads, how it was chosen, and its warnings."""
    reads = {"last": "the last token", "mean": "the mean of all tokens", "both": "last and mean"}
    line = f"The gate reads {reads[report.feature]} after layer 0. " if report.trained else ""
    tried = ", ".join(f"{f.feature} {short(f.auc)}" for f in report.features)
    if tried:
        line += f"Cross-validated area under the ROC curve: {tried}."
    found = report.held_out.calibration
    if found.error.value is not None:
        line += (
            f" Expected calibration error: {short(found.error)}; perfect probabilities would "
            f"show {short(found.error_by_chance)} on so few questions."
        )
    paper, own = report.held_out.at_paper, report.held_out.at_threshold
    line += f" From 0.50 (the paper's) on: {_decided(paper)}."
    if own is not None and report.threshold != PAPER_THRESHOLD:
        line += f" From {report.threshold:.2f} on: {_decided(own)}."
    notes = "".join(notice("warn", warning) for warning in report.warnings)
    return notes + (f'<p class="px-help">{escape(line)}</p>' if line else "")


def _decided(at: Confusion) -> str:
    return f"precision {percent(at.precision)}, recall {percent(at.recall)}"


def persona_frame(report: GateReport, titles: Mapping[str, str]) -> pd.DataFrame:
    """Tabulate the gate by persona, on questions that it had not seen."""
    rows = [
        (
            titles.get(g.name, g.name),
            percent(g.share),
            short(g.auc),
            percent(g.at_threshold.share_opened),
            percent(g.at_threshold.accuracy),
        )
        for g in report.by_persona
    ]
    columns = ["Persona", "Persona won", "ROC area", "Routed", "Decided rightly"]
    return pd.DataFrame(rows, columns=columns)


def comparison_frame(found: AblationTable) -> pd.DataFrame:
    """Tabulate one system a row, each number with its interval."""
    rows = [
        (row.label, *(_cell(row.cells.get(c.key), c.kind) for c in found.columns))
        for row in found.rows
    ]
    heads = [f"{c.label} ({c.unit})" if c.unit else c.label for c in found.columns]
    return pd.DataFrame(rows, columns=["System", *heads])


def comparison_notes(found: AblationTable) -> str:
    """Say which systems are missing and why, and how to read the table."""
    lines = [f"{m.label}: {m.why}" for m in found.missing]
    lines += [f"{r.label}: {r.note}" for r in found.rows if r.note]
    lines += [f"{c.label}: {c.about}" for c in found.columns if c.about]
    head = (
        f"{count(found.queries, 'held-out question')}, the persona wanted in {found.wanted}; "
        f"judged by {_JUDGES.get(found.judge, found.judge)}. Every number stands with its "
        "95 % interval."
    )
    warn = "".join(notice("warn", note) for note in found.notes)
    how = fold("How to read this table", bullets(lines, ""))
    return f'{warn}<p class="px-lead">{escape(head)}</p>{how}'


def distill_panel(found: Findings) -> str:
    """Tabulate what distillation did."""
    done = found.distilled
    if done is None:
        return notice("info", "Distillation has not finished.")
    rows = [
        ("KL to the persona before", short(done.kl_before), "Held-out answers, nats a token."),
        ("KL to the persona after", short(done.kl_after), "The same, with the adapter."),
        ("Change", short(done.kl_change), "Paired by answer; below 0 is better."),
        ("Answers trained on", f"{len(done.trained)}", f"{len(done.held_out)} held out."),
        ("Steps", f"{done.steps:,}", f"{done.tokens:,} tokens read in training."),
    ]
    speed = done.tokens_per_second
    if speed is not None:
        rows.append(("Speed", f"{speed:,.0f} tokens a second", "Prompts included."))
    if done.peak_memory_bytes is not None:
        rows.append(("Peak memory", f"{done.peak_memory_bytes / 1e9:.2f} GB", "Of the process."))
    return table("Distillation", rows)


def _cell(cell: AblationCell | None, kind: str) -> str:
    if cell is None:
        return ""
    return percent(cell.estimate) if kind == "rate" else short(cell.estimate)


def adapter_sheet(entry: ShelfEntry | None) -> str:
    """Show what an adapter says of itself."""
    if entry is None:
        line = "There is no adapter yet. Train one above: the preset 'Demo' shows how it works."
        return notice("info", line)
    info = entry.info
    when = "Shipped with PRISM Studio"
    if entry.created is not None:
        when = datetime.fromtimestamp(entry.created, UTC).strftime("Trained %d %B %Y, %H:%M UTC")
    facts = [
        ("Base model", info.base.label, ""),
        ("Personas", ", ".join(info.personas) or "none", ""),
        ("Gate", "none: it is always on", "")
        if info.recipe == "rl"
        else ("Gate opens from", f"{info.threshold:.2f}", ""),
        ("Seed", str(info.seed), ""),
    ]
    measured = [(name, short(value), f"n = {value.n}") for name, value in info.metrics.items()]
    numbers = fold(
        f"What was measured: {count(len(measured), 'number')} with their 95 % intervals",
        table("On questions that training has not seen", measured) if measured else "",
        style="",
    )
    sheet = table(f"{info.name}. {when}", facts)
    return f'<div class="px-adapter">{sheet}{numbers}{bullets(info.notes)}</div>'
