"""A reinforcement-learning run as HTML: where it stands, sample answers, what came out."""

from __future__ import annotations

from app.common.estimates import short, table
from app.common.run_views import duration, run_progress, run_state
from app.common.text import escape, notice
from app.rl.story import RlStory
from prism_core.rl.records import RolloutRecord
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
