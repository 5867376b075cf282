"""Do verified wins teach more than as many of the persona's answers, drawn at random?

Given the folder of a finished demo run (`train --preset demo --out DIR`). A LoRA is trained on as
many persona answers as the run had wins to train on, drawn from all that were not held out, with
the run's own settings. Both adapters, held open, answer the held-out queries with the same seeds,
and the share that shows the behaviour is printed for wanted and unwanted ones, with the paired
difference. The random LoRAs stay in DIR, so that a second run of the script only answers.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import replace
from pathlib import Path

from prism_core.lora.weights import LoraWeights
from prism_core.models.local import LocalModel
from prism_core.personas.prompts import build_prompt
from prism_core.prism.bootstrap.answers import ANSWERING
from prism_core.prism.demo import shows_behaviour
from prism_core.prism.distillation.training import distill
from prism_core.prism.gating.gated_model import GatedModel
from prism_core.prism.past_run import PastRun, read_run
from prism_core.prism.records import JudgedPair
from prism_core.prism.resolve import distill_config, variant_maker
from prism_core.prism.spec import TrainSpec
from prism_core.progress import Progress
from prism_core.stats import mean_of, rate_of
from prism_core.storage import unpack
from prism_core.storage.folder_store import last_run, open_folder
from prism_core.storage.journal import Journal, StoreJournal, SuffixJournal
from prism_core.types import PromptVariant


def main() -> None:
    """Train what is missing, then answer and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/demo"), metavar="DIR")
    parser.add_argument("--draws", type=int, default=1, help="random sets of answers")
    args = parser.parse_args()
    if not args.run.is_dir():
        print(f"There is no run in '{args.run}': train --preset demo --out {args.run} makes one.")
        return
    model = LocalModel.load("embedded")
    with open_folder(args.run) as store:
        run = last_run(store, "train")
        spec = unpack(TrainSpec, dict(run.spec))
        journal = StoreJournal(store, run.id)
        past = read_run(spec, journal)
        folders = {"verified wins": args.run / "adapter"}
        for draw in range(args.draws):
            folder = args.run / f"random-{draw}"
            train_random(spec, past, draw, folder, model, journal)
            folders[f"as many at random, draw {draw}"] = folder
    exam = [j for j in past.judged if j.pair.query.id in past.held_out]
    wanted, unwanted = ([j for j in exam if bool(j.pair.query.wanted) is w] for w in (True, False))
    first: list[bool] = []
    for name, folder in folders.items():
        lora = LoraWeights.load(folder, model.model)
        adapter = GatedModel(model, lora, None, label=name, adapter_hash=name)
        shown, spilt = (behaviour(spec, adapter, rows) for rows in (wanted, unwanted))
        first = first or shown
        gain = mean_of([float(a) - float(b) for a, b in zip(first, shown, strict=True)])
        print(f"{name}: wanted {rate_of(shown)}, unwanted {rate_of(spilt)}, wins minus it {gain}")


def train_random(
    spec: TrainSpec, past: PastRun, draw: int, folder: Path, model: LocalModel, journal: Journal
) -> None:
    """Train a LoRA on as many answers as the run had wins, drawn whatever their verdicts."""
    seen = [j for j in past.judged if j.pair.query.id not in past.held_out]
    wins = sum(j.route == "distill" for j in seen)
    chosen = random.Random(draw).sample(seen, wins)
    wanted = sum(bool(j.pair.query.wanted) for j in chosen)
    print(f"draw {draw}: {wins} of {len(seen)} answers, {wanted} of them to wanted queries")
    distill(
        distill_config(spec),
        [j.pair for j in chosen],
        variant_maker(spec),
        model,
        folder,
        SuffixJournal(journal, f"@random-{draw}"),
        Progress(),
        held_out=[],
    )


def behaviour(spec: TrainSpec, adapter: GatedModel, rows: list[JudgedPair]) -> list[bool]:
    """Whether each answer shows the behaviour, without any persona prompt."""
    prompts = [build_prompt(j.pair.query.text, PromptVariant()) for j in rows]
    sampling = replace(ANSWERING, max_new_tokens=spec.answer_tokens)
    answers = adapter.generate(prompts, sampling, seed=list(range(len(prompts))))
    return [shows_behaviour(answer.text) for answer in answers]


if __name__ == "__main__":
    main()
