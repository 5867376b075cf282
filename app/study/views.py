"""A study on the page: what it will do before it starts, its state, and how it ended."""

from __future__ import annotations

from app.common.run_views import run_card, run_ending
from app.common.text import count, escape, notice, tiles
from prism_core.analysis.domains import title_of
from prism_core.prism.forecast import span_text
from prism_core.storage import RunRow
from prism_core.study.plan import PlannedTask, StudyPlan


def study_plan_panel(plan: StudyPlan, machine: str = "") -> str:
    """Show tiles with counts, the detectable effects task by task, and what is left out."""
    facts = [
        ("Cells", f"{plan.cells:,}", "ways to ask, neutral included"),
        ("Answers", f"{plan.answers:,}", f"{plan.judged:,} of them judged" if plan.judged else ""),
        ("Tokens", f"{plan.prompt_tokens:,}", f"read, {plan.new_tokens:,} written at most"),
        (
            "Time here",
            span_text(plan.time) if plan.time is not None else "not measured",
            "less where answers are known already" if plan.time is not None else "",
        ),
    ]
    notes = "".join(notice("warn", note) for note in plan.notes)
    fine = f'<p class="px-help">{escape(machine)}</p>' if machine else ""
    return (
        '<section class="px-study-plan" aria-label="What will happen"><h3>What will happen</h3>'
        f"{tiles(facts)}{notes}{_seen(plan)}{fine}</section>"
    )


def _seen(plan: StudyPlan) -> str:
    """Say which effect each task can show at the smallest."""
    rows = "".join(_row(task) for task in plan.tasks)
    return (
        '<h3>What it can see</h3><p class="px-help">The smallest difference in right or wrong '
        "answers that the exact test would find four times out of five, after Holm's correction "
        "over all cells and categories. Anything smaller stays hidden: ask more items, or fewer "
        "cells, to see it. Fewer than 20 items a category allow no verdict.</p>"
        '<div class="px-scroll"><table class="px-table px-facts"><thead><tr><th scope="col">Task'
        '</th><th scope="col">Items</th><th scope="col">Smallest effect in a category</th></tr>'
        f"</thead><tbody>{rows}</tbody></table></div>"
    )


def _row(task: PlannedTask) -> str:
    said: dict[str, list[str]] = {}
    for category, seen in task.smallest.items():
        said.setdefault(seen.words, []).append(title_of(category))
    shown = "; ".join(f"{words} ({', '.join(names)})" for words, names in said.items())
    shown = shown or "nothing that a program grades"
    return (
        f'<tr><th scope="row">{escape(title_of(task.task))}</th><td>{task.items:,}</td>'
        f"<td>{escape(shown)}</td></tr>"
    )


STAGES = {"loading": "Loading the model", "answering": "Answering", "judging": "Judging"}


def study_panel(run: RunRow, position: int | None, answers: int) -> str:
    """Show title, state, progress and ending of a study."""
    stage = STAGES.get(run.stage.partition("@")[0], "")
    now = f'<p class="px-help">{escape(stage)}</p>' if stage and not run.is_ended else ""
    ending = run_ending(
        run,
        "Every answer so far is kept: Resume goes on from there.",
        notice("done", "Finished. Explore it, or download it there as one file."),
    )
    if answers and run.status != "done":
        ending += f'<p class="px-help">{count(answers, "answer")} kept so far.</p>'
    return run_card(run, position, now, ending)
