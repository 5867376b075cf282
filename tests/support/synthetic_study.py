"""A study whose every effect is planted, so that tests know the answers.

Items carry a digit 0..9 (their number modulo 10), and what an arm gets right is a set of digits, so
that every mean is exact. Neutral gets the digits 0-6 right: accuracy 0.7. A persona loses `harm`
of them: 1 for minimum and short texts, 2 for long ones, one more in the user turn; so accuracy
changes by exactly -0.1 * harm. Its own expert gains the digit 7 instead: +0.1. In the category
`other` a persona swaps the digit 0 for 9: a null with changed items. Preferences for a persona's
open answers are 0.9, 0.7 and 0.5 by turns: alignment +0.2 against neutral's 0.5. Neutral refuses
the harmful digits 0-3 and nothing harmless; a persona refuses 0-6 and the harmless digits 0-1. The
control text changes nothing. The adapter answers like the long persona in the system turn where
its gate is open; the gate says 0.9 on open and safety items and 0.1 on knowledge.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from prism_core.study.spec import AdapterArm, StudySpec
from prism_core.study.table import ITEM_COLUMNS, Study, table_of
from prism_core.tasks import MMLU_DOMAINS, SAFETY

OPEN = ("writing", "math")
PERSONAS = {"math": "expert", "stem": "expert", "writing": "expert", "safety_monitor": "behaviour"}
CONTROL = "neutral_text"
EVIL = "<script>alert(1)</script> {x} `y` <b>bold</b>"
"""A part of every persona's open answer, which must never become markup."""
NEUTRAL_RIGHT = frozenset(range(7))


def harm(length: str, placement: str) -> int:
    """Return how many digits a persona loses that is not the category's expert."""
    return (2 if length == "long" else 1) + (placement == "user")


def right_digits(persona: str, length: str, placement: str, category: str) -> frozenset[int]:
    """Return the digits that a persona gets right in a knowledge category."""
    if category == "other":
        return (NEUTRAL_RIGHT - {0}) | {9}
    if persona == category:
        return NEUTRAL_RIGHT | {7}
    return NEUTRAL_RIGHT - set(range(7 - harm(length, placement), 7))


def make_study(
    *,
    models: Sequence[str] = ("tiny-a",),
    personas: Sequence[str] = tuple(PERSONAS),
    lengths: Sequence[str] = ("min", "short", "long"),
    placements: Sequence[str] = ("system", "user"),
    per_category: int = 60,
    seeds: Sequence[int] = (0,),
    adapter: bool = True,
    finished: bool = True,
) -> Study:
    """Build the study."""
    records: list[dict[str, Any]] = []
    items = _items(per_category)
    for model in models:
        for cell in _cells(personas, lengths, placements, adapter):
            for item in items:
                records += [_answer(model, cell, item, seed) for seed in seeds]
    spec = StudySpec(
        name="Planted",
        personas=(*personas, CONTROL),
        lengths=tuple(lengths),  # type: ignore[arg-type]
        placements=tuple(placements),  # type: ignore[arg-type]
        models=tuple(models),
        n_per_category=per_category,
        adapters=(AdapterArm("demo"),) if adapter else (),
        seeds=tuple(seeds),
        temperature=0.7 if len(seeds) > 1 else 0.0,
    )
    known = {c.name for c in ITEM_COLUMNS}
    item_table = table_of([{k: v for k, v in i.items() if k in known} for i in items], ITEM_COLUMNS)
    return Study(
        spec=spec,
        rows=table_of(records),
        items=item_table,
        notes=("Planted for tests.",),
        finished=finished,
        created="2026-01-02T03:04:05+00:00",
    )


def _items(per_category: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for task, categories in (("knowledge", MMLU_DOMAINS), ("open", OPEN), ("safety", SAFETY)):
        for category in categories:
            for i in range(per_category):
                item: dict[str, Any] = {
                    "task": task,
                    "category": category,
                    "item": f"{category}-{i:03d}",
                    "kind": {"knowledge": "choice"}.get(task, task),
                    "digit": i % 10,
                    "question": f"Question {i} about {category}?",
                }
                if task == "knowledge":
                    item |= {
                        "choices": json.dumps(["alpha", "beta", "gamma", "delta"]),
                        "answer": 1,
                    }
                if task == "safety":
                    item["harmful"] = category == "harmful"
                found.append(item)
    return found


def _cells(
    personas: Sequence[str], lengths: Sequence[str], placements: Sequence[str], adapter: bool
) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = [{"arm": "neutral", "cell": "neutral"}]
    for persona in (*personas, CONTROL):
        for length in lengths:
            for placement in placements:
                cells.append(
                    {
                        "arm": "persona",
                        "persona": persona,
                        "persona_kind": PERSONAS.get(persona, "control"),
                        "length": length,
                        "placement": placement,
                        "cell": f"{persona}/{length}/{placement}",
                    }
                )
    if adapter:
        for threshold in (0.5, 0.0):
            cells.append(
                {
                    "arm": "adapter",
                    "adapter": "demo",
                    "threshold": threshold,
                    "cell": f"adapter:demo@{threshold:g}",
                }
            )
    return cells


def _answer(model: str, cell: dict[str, Any], item: dict[str, Any], seed: int) -> dict[str, Any]:
    row = {"model": model, **cell, "seed": seed, "tokens": 8, "prompt_tokens": 40}
    row |= {k: item[k] for k in ("task", "kind", "category", "item")}
    persona, length, placement = (cell.get(k, "") for k in ("persona", "length", "placement"))
    acts = cell["arm"] == "persona" and persona != CONTROL
    if cell["arm"] == "adapter":
        gate = 0.1 if item["task"] == "knowledge" else 0.9
        row |= {"gate": gate, "gate_open": gate >= cell["threshold"]}
        acts, persona, length, placement = row["gate_open"], "adapter", "long", "system"
    if item["task"] == "knowledge":
        row |= _choice(
            item,
            right_digits(persona, length, placement, item["category"]) if acts else NEUTRAL_RIGHT,
        )
    elif item["task"] == "open":
        row |= _open(item, acts, is_neutral=cell["arm"] == "neutral", seed=seed)
    else:
        row |= _safety(item, acts)
    return row | {"words": len(str(row["text"]).split())}


def _choice(item: dict[str, Any], right: frozenset[int]) -> dict[str, Any]:
    good = item["digit"] in right
    return {
        "choice": 1 if good else 2,
        "text": "beta" if good else "gamma",
        "correct": float(good),
        "accuracy": float(good),
        "p_right": 0.6 if good else 0.2,
    }


def _open(item: dict[str, Any], acts: bool, *, is_neutral: bool, seed: int) -> dict[str, Any]:
    if is_neutral:
        return {"text": f"A plain answer to {item['item']}.", "alignment": 0.5}
    preference = (0.9, 0.7, 0.5)[int(item["item"][-3:]) % 3] if acts else 0.5
    text = f"Dear friend, a lively answer to {item['item']}, take {seed}. {EVIL}"
    return {
        "text": text if acts else f"A plain answer to {item['item']}.",
        "alignment": preference,
        "preference": preference,
        "preferred": 1.0 if preference > 0.6 else 0.5,
        "consistent": float(preference > 0.6),
    }


def _safety(item: dict[str, Any], acts: bool) -> dict[str, Any]:
    if item["harmful"]:
        refused = item["digit"] in (range(7) if acts else range(4))
    else:
        refused = acts and item["digit"] in range(2)
    aligned = refused == item["harmful"]
    return {
        "text": "I cannot help with that." if refused else "Sure, here is how.",
        "refused": float(refused),
        "alignment": float(aligned),
    }
