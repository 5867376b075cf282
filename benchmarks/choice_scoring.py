"""Choice scoring after a long persona, against lm-evaluation-harness, in one process and in turns.

The same items (MMLU's dev questions, from `PRISM_DATA_DIR` or `../shared/data`), the same model,
the same system instruction and chat template, batch 8 for the harness. Both ways: letters (four
single letters after the listed choices) and cloze (the four choices themselves).
Prints items a second, the ratio, and on how many items both pick the same choice.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections.abc import Sequence
from pathlib import Path

from prism_core.models.embedded import embedded_folder
from prism_core.models.local import LocalModel
from prism_core.personas.library import load_personas
from prism_core.personas.prompts import build_prompt
from prism_core.study.choice_scoring import choice_question, choice_texts, score_choice_items
from prism_core.study.choices import ChoiceScores, Way, picked
from prism_core.tasks import Item
from prism_core.types import PromptVariant

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def main() -> None:
    """Run both sides in turns and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--ways", nargs="+", default=["letters", "cloze"])
    args = parser.parse_args()
    try:
        from lm_eval.models.huggingface import HFLM
    except ImportError:
        print("lm-evaluation-harness is not installed: pip install lm-eval==0.4.13")
        return
    folder = Path(os.environ.get("PRISM_DATA_DIR", SHARED)) / "mmlu" / "dev"
    if not folder.is_dir():
        print(f"There are no MMLU items at {folder}; set PRISM_DATA_DIR.")
        return
    items = dev_items(folder, args.items)
    model = LocalModel.load("embedded")
    variant = PromptVariant(load_personas()["math"], "long", "system")
    harness = HFLM(
        pretrained=str(embedded_folder()),
        batch_size=8,
        device=str(model.model.device),
        dtype=str(model.model.dtype).removeprefix("torch."),
    )
    for way in args.ways:
        ours, theirs = [], []
        for _ in range(args.rounds):
            start = time.perf_counter()
            mine = score_choice_items(model, variant, items, way)
            ours.append(time.perf_counter() - start)
            start = time.perf_counter()
            other = harness_scores(harness, model, variant, items, way)
            theirs.append(time.perf_counter() - start)
        report(way, items, mine, other, min(ours), min(theirs))


def dev_items(folder: Path, count: int) -> list[Item]:
    """Read the first questions of the dev split, subject after subject."""
    items = []
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for i, row in enumerate(csv.DictReader(file)):
                choices = tuple(row[f"choice{j}"] for j in range(4))
                items.append(
                    Item(
                        f"{path.stem}-{i}",
                        "mmlu",
                        "dev",
                        "choice",
                        row["question"],
                        choices,
                        int(row["answer"]),
                    )
                )
    return items[:count]


def harness_scores(
    harness: object, model: LocalModel, variant: PromptVariant, items: Sequence[Item], way: Way
) -> list[ChoiceScores]:
    """Compute the same log-likelihoods by the harness's own loop."""
    from lm_eval.api.instance import Instance

    requests = []
    for item in items:
        prompt = build_prompt(choice_question(item, way), variant, model.has_system_role)
        history = [{"role": m.role, "content": m.content} for m in prompt]
        context = harness.apply_chat_template(history)  # type: ignore[attr-defined]
        for j, text in enumerate(choice_texts(item, way)):
            requests.append(Instance("loglikelihood", {}, (context, text), j))
    found = iter(harness.loglikelihood(requests, disable_tqdm=True))  # type: ignore[attr-defined]
    rows = []
    for item in items:
        texts = choice_texts(item, way)
        sums = tuple(float(next(found)[0]) for _ in texts)
        rows.append(ChoiceScores(sums, tuple(model.count_tokens(t) for t in texts)))
    return rows


def report(
    way: Way,
    items: Sequence[Item],
    ours: Sequence[ChoiceScores],
    theirs: Sequence[ChoiceScores],
    our_seconds: float,
    their_seconds: float,
) -> None:
    """Print speed and agreement of one way."""
    mine = [picked(row, way) for row in ours]
    other = [picked(row, way) for row in theirs]
    same = sum(a == b for a, b in zip(mine, other, strict=True))
    right = sum(a == i.answer for a, i in zip(mine, items, strict=True))
    gap = max(
        abs(a - b)
        for x, y in zip(ours, theirs, strict=True)
        for a, b in zip(x.logprobs, y.logprobs, strict=True)
    )
    n = len(items)
    print(
        f"{way:8} {n} items: ours {our_seconds:.1f} s ({n / our_seconds:.2f}/s), harness "
        f"{their_seconds:.1f} s ({n / their_seconds:.2f}/s), ratio "
        f"{their_seconds / our_seconds:.1f}; "
        f"same choice {same}/{n}, largest gap {gap:.4f} nats, right {right}/{n}",
        flush=True,
    )


if __name__ == "__main__":
    main()
