"""Prefill with the gate against prefill without it, and against a whole pass for the gate.

The same prompts are read in turns by the base alone, by the base after the gate has read layer 0
and kept every row closed (what asking costs), or opened every row (the adapter's arithmetic on
top), and by the way of the paper's released code: a whole forward pass to read one early layer,
then the prefill. Prints the median of the ratios within a turn: wall time, and CPU time, which
other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch

from prism_core.inference.padding import pad_left
from prism_core.inference.prefill import prefill
from prism_core.models.chat import encode_prompt
from prism_core.models.local import LocalModel
from prism_core.personas.prompts import build_prompt
from prism_core.prism.bundle import load_bundle
from prism_core.prism.demo import demo_queries
from prism_core.prism.gating.gate import pool
from prism_core.prism.gating.gated_model import GatedModel
from prism_core.types import GateMode, PromptVariant
from prism_core.utils.assets import ASSETS

ADAPTER = ASSETS / "adapters" / "demo"
Rows = Sequence[Sequence[int]]
LONG = (
    " Please take into account that I have already read a good deal about it, that I have about an "
    "hour, and that I would like to explain it to a friend afterwards in words of my own."
)
"""Makes a question of about 50 tokens out of a short one."""


def main() -> None:
    """Measure one row and many."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=15)
    args = parser.parse_args()
    base = LocalModel.load("embedded")
    gated = load_bundle(ADAPTER, base)
    questions = [q.text + LONG for q in demo_queries()]
    encoded = [
        encode_prompt(base.tokenizer, build_prompt(q, PromptVariant())) for q in questions[:16]
    ]
    for count in (1, 16):
        rows = encoded[:count]
        print(f"{count} rows, {sum(map(len, rows)) / count:.0f} tokens each, {args.turns} turns")
        compare(args.turns, arms_of(gated, rows))


def arms_of(gated: GatedModel, rows: Rows) -> dict[str, Callable[[], object]]:
    """Return ways to read the prompts; the first one is what the others are compared with."""
    model = gated.base.model

    def routed(mode: GateMode) -> object:
        readings = gated.readings_of(rows, mode)
        return prefill(model, rows, [gated.lora if r.is_open else None for r in readings])

    return {
        "base alone": lambda: prefill(model, rows),
        "layer 0, gate closed": lambda: routed("closed"),
        "layer 0, gate open": lambda: routed("open"),
        "whole pass for the gate": lambda: (first_pass(gated, rows), prefill(model, rows)),
    }


def first_pass(gated: GatedModel, rows: Rows) -> torch.Tensor:
    """Compute the gate's probabilities by a forward pass of its own through all layers."""
    model = gated.base.model
    ids, mask = pad_left(rows, model.device)
    out = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
        output_hidden_states=True,
        logits_to_keep=1,
        use_cache=False,
    )
    # The first of the hidden states is the embedding; the second is layer 0's output.
    probabilities: torch.Tensor = gated.gate(pool(out.hidden_states[1], mask, gated.gate.feature))
    return probabilities


def compare(turns: int, arms: dict[str, Callable[[], object]]) -> None:
    """Time all arms in every turn, in changing order, and print their ratios to the first."""
    names = list(arms)
    wall: dict[str, list[float]] = {name: [] for name in names}
    cpu: dict[str, list[float]] = {name: [] for name in names}
    with torch.inference_mode():
        for arm in arms.values():
            arm()  # warm-up
        for turn in range(turns):
            shift = turn % len(names)
            for name in names[shift:] + names[:shift]:
                start, used = time.perf_counter(), time.process_time()
                arms[name]()
                wall[name].append(time.perf_counter() - start)
                cpu[name].append(time.process_time() - used)
    for name in names:
        ratios = [
            statistics.median(a / b for a, b in zip(side[name], side[names[0]], strict=True))
            for side in (wall, cpu)
        ]
        best = min(wall[name]) / min(wall[names[0]])
        print(
            f"  {name:<26} {statistics.median(wall[name]) * 1000:8.1f} ms   ratio {ratios[0]:.3f} "
            f"(CPU time {ratios[1]:.3f}, best of all turns {best:.3f})"
        )


if __name__ == "__main__":
    main()
