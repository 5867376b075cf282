"""Before a study starts: how much there is to do, how long it takes, and what it can see.

Cells, answers and tokens are counted from the spec and the items. A persona's text that many items
share is read once for each of them. Time follows from speeds measured on this machine; answers may
end early, so it is a range from half the allowed length to all of it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prism_core.prism.forecast import Span, SpeedProbe, span_text
from prism_core.stats import MINIMUM_ITEMS, Detectable, smallest_detectable
from prism_core.study.batches import MAX_ROWS
from prism_core.study.cells import AdapterFact, Cell, cells_of
from prism_core.study.resolve import items_of, personas_of
from prism_core.study.spec import StudySpec, check_spec
from prism_core.tasks import Item

CHARACTERS_PER_TOKEN = 4.2
"""Of English text; the exact number needs the model's tokenizer."""
DISAGREEMENT = 0.2
"""Share of items on which two equally good arms are assumed to differ, for the smallest effect."""
_TEMPLATE_TOKENS = 30
_SHORTEST, _JUDGE_TOKENS = 0.5, 130
_SHARED_AT_LEAST = 48
"""See `prism_core.inference.prefill`: a shorter common beginning is read again for every row."""


@dataclass(frozen=True)
class PlannedTask:
    """What one task adds to a study."""

    task: str
    items: int
    smallest: Mapping[str, Detectable]
    """By category: the smallest effect on right/wrong answers that its items can show, at Holm's
    first step over all cells and categories of the same score."""


@dataclass(frozen=True)
class StudyPlan:
    """What a study will do."""

    cells: int
    answers: int
    prompt_tokens: int
    """Tokens to be read, shared beginnings once."""
    new_tokens: int
    judged: int
    time: Span | None
    """How long, without the cache; None before the machine was measured."""
    tasks: tuple[PlannedTask, ...]
    notes: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The plan in one or two sentences."""
        line = (
            f"{self.cells:,} cells and {self.answers:,} answers: {self.prompt_tokens:,} tokens to "
            f"read and at most {self.new_tokens:,} to write"
        )
        line += f", {self.judged:,} answers to judge." if self.judged else "."
        if self.time is None:
            return f"{line} Measure this machine to see how long it will take."
        return f"{line} About {span_text(self.time)} here, less where answers are known already."


def plan_study(spec: StudySpec, probe: SpeedProbe | None = None) -> StudyPlan:
    """Say what a study will do; how long it takes is known from a model's measured speeds.

    Raises:
        InputError, NotFoundError: a choice is not allowed, or names what is not there.
    """
    check_spec(spec)
    personas, items = personas_of(spec), items_of(spec)
    # Whether an adapter fits is known once the model is loaded; the plan assumes that it does.
    adapters = [AdapterFact(a.reference, a.reference[-40:], 0.5) for a in spec.adapters]
    cells, notes = cells_of(spec, personas, adapters)
    models = len(spec.models)
    answers = len(cells) * sum(_rows(spec, had) for had in items.values())
    read = sum(_read(spec, cell, had) for cell in cells for had in items.values())
    write = sum(
        len(cells) * spec.tokens_of(task) * sum(_turns(i) * len(spec.seeds) for i in _written(had))
        for task, had in items.items()
    )
    judged = 0
    if spec.judges:
        judged = (len(cells) - 1) * len(spec.seeds) * sum(len(_written(h)) for h in items.values())
    time = None if probe is None else _time(spec, models * read, models * write, judged, probe)
    return StudyPlan(
        cells=models * len(cells),
        answers=models * answers,
        prompt_tokens=models * read,
        new_tokens=models * write,
        judged=models * judged,
        time=time,
        tasks=_planned(items, max(1, len(cells) - 1)),
        notes=notes,
    )


def text_tokens(text: str) -> int:
    """Return about how many tokens an English text has."""
    return math.ceil(len(text) / CHARACTERS_PER_TOKEN)


def _planned(items: Mapping[str, Sequence[Item]], cells: int) -> tuple[PlannedTask, ...]:
    """Return each task's smallest effects, with the family that Holm's correction will run over."""
    counts = {task: _counts(had) for task, had in items.items()}
    blocks = Counter(
        score for found in counts.values() for (_, score), n in found.items() if n >= MINIMUM_ITEMS
    )
    planned = []
    for task, found in counts.items():
        smallest: dict[str, Detectable] = {}
        for (category, score), n in sorted(found.items(), key=lambda one: one[0][1]):
            family = cells * max(1, blocks[score])
            seen = smallest_detectable(n, DISAGREEMENT, comparisons=family)
            smallest.setdefault(category, seen)  # accuracy comes first
        planned.append(PlannedTask(task, len(items[task]), smallest))
    return tuple(planned)


def _counts(items: Sequence[Item]) -> Counter[tuple[str, str]]:
    """Count the items that a program grades, by category and by what the grade is."""
    found: Counter[tuple[str, str]] = Counter()
    for item in items:
        if item.kind == "choice":
            found[item.category, "accuracy"] += 1
        elif item.kind == "safety":
            found[item.category, "alignment"] += 1
        elif item.check is not None:
            found[item.category, item.check.aspect] += 1
    return found


def _written(items: Sequence[Item]) -> list[Item]:
    return [item for item in items if item.kind != "choice"]


def _turns(item: Item) -> int:
    return 1 + len(item.follow_ups)


def _rows(spec: StudySpec, items: Sequence[Item]) -> int:
    """Return how many answers one cell gives to a task's items."""
    written = len(_written(items))
    return len(items) - written + written * len(spec.seeds)


def _read(spec: StudySpec, cell: Cell, items: Sequence[Item]) -> int:
    """Return the prompt tokens of one cell."""
    who = cell.variant.persona
    persona = text_tokens(who.texts.get(cell.variant.length, "")) if who else 0
    tokens = 0
    for item in items:
        repeats = 1 if item.kind == "choice" else len(spec.seeds)
        own = _TEMPLATE_TOKENS + text_tokens(item.question)
        own += sum(text_tokens(choice) + 3 for choice in item.choices)
        # A further turn reads the conversation so far again, its first answer with it.
        again = sum(own + spec.tokens_of(item.task) + text_tokens(q) for q in item.follow_ups)
        tokens += repeats * (own + again)
    if not items:
        return 0
    shared = persona + _TEMPLATE_TOKENS >= _SHARED_AT_LEAST
    batches = math.ceil(_rows(spec, items) / MAX_ROWS)
    return tokens + persona * (batches if shared else _rows(spec, items))


def _time(spec: StudySpec, read: int, write: int, judged: int, probe: SpeedProbe) -> Span:
    reading = read / probe.read_rate
    writing = write / probe.decode_rate
    longest = max(spec.tokens_of(task) for task in spec.tasks)
    seconds = []
    for share in (_SHORTEST, 1.0):
        judging = judged * 2 * (_JUDGE_TOKENS + 2 * share * longest) / probe.read_rate
        seconds.append(reading + share * writing + judging)
    return Span(seconds[0], seconds[1])
