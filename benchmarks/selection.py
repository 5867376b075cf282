"""Do verified answers teach more than as many unverified ones, where the prompt often fails?

The demo's persona in a length and at a temperature at which many of its answers miss the behaviour
answers all wanted queries that are not held out. A LoRA is trained, with the `demo` preset's
settings, on the answers that a program found to show the behaviour, and another on as many drawn
without a look; once by the KL to the teacher, once by plain SFT. Held open, and without any
persona prompt, each answers the held-out wanted queries several times, and the share that shows
the behaviour is printed with the difference, paired by query.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from prism_core.lora.weights import LoraWeights
from prism_core.models.generator import Generator
from prism_core.models.local import LocalModel
from prism_core.personas.prompts import build_prompt
from prism_core.prism.bootstrap.answers import ANSWERING
from prism_core.prism.demo import demo_persona, demo_queries, shows_behaviour
from prism_core.prism.distillation.report import Loss
from prism_core.prism.distillation.training import distill
from prism_core.prism.gating.gated_model import GatedModel
from prism_core.prism.records import AnswerPair, Query
from prism_core.prism.resolve import distill_config
from prism_core.prism.spec import PRESETS
from prism_core.prism.splits import group_of, split_by_group
from prism_core.progress import Progress
from prism_core.stats import mean_of
from prism_core.storage.journal import MemoryJournal
from prism_core.types import Completion, PromptVariant, Sampling

SPEC = PRESETS["demo"]
LOSSES: tuple[Loss, ...] = ("kl", "sft")


def main() -> None:
    """Answer, train four LoRAs, answer with each, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--length", choices=("min", "short", "long"), default="short")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=4, help="answers to each held-out query")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    model = LocalModel.load("embedded")
    sampling = replace(ANSWERING, max_new_tokens=SPEC.answer_tokens, temperature=args.temperature)
    variant = PromptVariant(demo_persona(), args.length, "system")
    lessons, exam = split([q for q in demo_queries() if q.wanted], args.seed)

    answers = ask(model, lessons, variant, sampling, args.seed)
    pairs = [AnswerPair(q, a, a) for q, a in zip(lessons, answers, strict=True)]
    wins = [p for p in pairs if shows_behaviour(p.persona.text)]
    drawn = random.Random(args.seed).sample(pairs, len(wins))
    right = sum(shows_behaviour(p.persona.text) for p in drawn)
    print(f"{len(wins)} of {len(pairs)} answers show the behaviour; as many drawn: {right} do")

    prompted = shares(model, exam, variant, sampling, args.repeats)
    print(f"the prompt, held out, as it wrote the answers: {mean_of(prompted)}", flush=True)
    for loss in LOSSES:
        shown = [
            taught(model, chosen, variant, loss, exam, args.repeats, args.seed)
            for chosen in (wins, drawn)
        ]
        gain = mean_of([a - b for a, b in zip(*shown, strict=True)])
        print(
            f"{loss}: verified {mean_of(shown[0])}, drawn {mean_of(shown[1])}, difference {gain}",
            flush=True,
        )


def split(queries: Sequence[Query], seed: int) -> tuple[list[Query], list[Query]]:
    """Split the queries by group into those to learn from and those to be examined on."""
    shares = (1 - SPEC.held_out_share, SPEC.held_out_share)
    parts = split_by_group(group_of(queries), [True] * len(queries), shares, seed)
    lessons, exam = ([q for q, p in zip(queries, parts, strict=True) if p == n] for n in (0, 1))
    return lessons, exam


def ask(
    model: Generator, queries: Sequence[Query], variant: PromptVariant, how: Sampling, seed: int
) -> list[Completion]:
    """Write one answer to each query."""
    prompts = [build_prompt(q.text, variant) for q in queries]
    seeds = [seed * 100_000 + i for i in range(len(prompts))]
    return model.generate(prompts, how, seed=seeds)


def shares(
    model: Generator, exam: Sequence[Query], variant: PromptVariant, how: Sampling, repeats: int
) -> list[float]:
    """Return the share of answers that shows the behaviour, query by query."""
    rounds = [ask(model, exam, variant, how, 1 + r) for r in range(repeats)]
    return [
        sum(shows_behaviour(answer.text) for answer in row) / repeats
        for row in zip(*rounds, strict=True)
    ]


def taught(
    model: LocalModel,
    pairs: Sequence[AnswerPair],
    variant: PromptVariant,
    loss: Loss,
    exam: Sequence[Query],
    repeats: int,
    seed: int,
) -> list[float]:
    """Train a LoRA on answers, and return the share that shows the behaviour without persona."""
    folder = Path(tempfile.mkdtemp())
    try:
        config = replace(distill_config(SPEC, loss), seed=seed)
        distill(
            config,
            pairs,
            lambda _name: variant,
            model,
            folder,
            MemoryJournal(),
            Progress(),
            held_out=[],
        )
        lora = LoraWeights.load(folder, model.model)
        adapter = GatedModel(model, lora, None, label=loss, adapter_hash=str(folder))
        how = replace(ANSWERING, max_new_tokens=SPEC.answer_tokens)
        return shares(adapter, exam, PromptVariant(), how, repeats)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
