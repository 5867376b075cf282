"""Distils a tiny model, alone or by `accelerate launch`, for the test of several processes."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[1:3]]

# The two folders above have to be known first.
# ruff: noqa: E402
from transformers import AutoTokenizer

from prism_core.models.embedded import embedded_folder
from prism_core.prism.distillation.report import DistillConfig
from prism_core.prism.distillation.training import distill
from prism_core.prism.records import AnswerPair, Query
from prism_core.progress import Progress
from prism_core.storage.journal import MemoryJournal
from prism_core.types import Completion, Persona, PromptVariant
from support.tiny_models import tiny_model


def main(folder: Path) -> None:
    """Write this process's losses and KLs into the folder."""
    tokenizer = AutoTokenizer.from_pretrained(embedded_folder(verify=False), local_files_only=True)
    model = tiny_model("llama", tokenizer)
    persona = Persona("poet", "Poet", "behaviour", "poems", {"long": "You speak in rhymes."})
    pairs = [
        AnswerPair(Query(f"q{i}", "poet", f"t{i}", f"Say {i}"), answer, answer)
        for i in range(9)
        for answer in [Completion("Roses are red. " * (i + 1), finish="stop")]
    ]
    config = DistillConfig(rank=4, alpha=8, lr=1e-2, epochs=2, batch=3, held_out_share=0.25)
    report = distill(
        config,
        pairs,
        lambda _name: PromptVariant(persona),
        model,
        folder / "adapter",
        MemoryJournal(),
        Progress(),
    )
    numbers = [p.loss for p in report.curve[1:]]
    numbers += [report.kl_before.value, report.kl_after.value]
    rank = os.environ.get("RANK", "0")
    (folder / f"process-{rank}.json").write_text(json.dumps(numbers))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
