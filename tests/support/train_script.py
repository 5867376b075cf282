"""A whole training run on a tiny random model; also a process of its own that kills itself.

`python tests/support/train_script.py FOLDER STAGE` goes on with the run in FOLDER and sends itself
SIGKILL right after a part of STAGE was journaled; without a stage it goes on to the end.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[1:3]]

# The two folders above have to be known first.
# ruff: noqa: E402
from transformers import AutoTokenizer

from prism_core.models.embedded import embedded_folder
from prism_core.models.generator import Generator
from prism_core.models.local import LocalModel
from prism_core.prism import pipeline
from prism_core.prism.ablation import ablate
from prism_core.prism.bootstrap.verification import VerifyConfig
from prism_core.prism.demo import demo_queries
from prism_core.prism.pipeline import TIME_STAGE, TrainResult, train
from prism_core.prism.records import Query
from prism_core.prism.spec import PRESETS, TrainSpec
from prism_core.progress import Progress
from prism_core.scorers.judges import Judge, JudgePair
from prism_core.storage import Store, pack
from prism_core.storage.folder_store import STORE_FILE
from prism_core.storage.journal import StoreJournal
from prism_core.types import Verdict
from support.tiny_models import tiny_model

SPEC = replace(
    PRESETS["demo"], answer_tokens=8, epochs=2, rank=2, batch_size=3, feature="last", name="Tiny"
)


def some_queries() -> tuple[Query, ...]:
    """Return one query of each of the demo's groups, so that groups can be held out."""
    kept: dict[str, list[Query]] = {}
    for query in demo_queries():
        kept.setdefault(query.subtopic, []).append(query)
    return tuple(query for group in kept.values() for query in group[:1])


class WantedWins:
    """A judge: the persona wins where it is wanted, and now and then elsewhere, by its length."""

    def judge(
        self, pairs: Sequence[JudgePair], *, cancel: threading.Event | None = None
    ) -> list[Verdict]:
        wanted = {q.text: q.wanted for q in some_queries()}
        return [
            Verdict("persona", 0.9, 0.8)
            if wanted[p.question] or len(p.persona_answer) % 5 == 0
            else Verdict("tie", 0.9, 0.2)
            for p in pairs
        ]


def judge_of(spec: TrainSpec, model: Generator) -> tuple[VerifyConfig, Judge]:
    return VerifyConfig(judge="verifiable", check_first=False), WantedWins()


@contextmanager
def small_demo() -> Iterator[None]:
    """A random model speaks no Pirate: fewer queries, and a judge that it can win with."""
    with ExitStack() as stack:
        for module in (pipeline, ablate):
            stack.enter_context(patch.object(module, "judge_of", judge_of))
        stack.enter_context(patch.object(pipeline, "demo_queries", some_queries))
        yield


def run_in(
    folder: Path, model: LocalModel, spec: TrainSpec = SPEC, kind: type[StoreJournal] = StoreJournal
) -> TrainResult:
    """Begin the run in this folder, or go on with it."""
    with Store(f"sqlite:///{folder / STORE_FILE}", home=folder) as store:
        found = store.list_runs(kind="train")
        row = found[0] if found else store.create_run("train", "t", pack(spec), folder=folder)
        with small_demo():
            return train(spec, folder, kind(store, row.id), Progress(), model)


def killing(stage: str) -> type[StoreJournal]:
    """Make a journal that ends the process as soon as a part of a stage is kept."""

    class Killing(StoreJournal):
        def save(self, at: str, parts: Mapping[str, Any]) -> None:
            super().save(at, parts)
            if at == stage and at != TIME_STAGE:
                os.kill(os.getpid(), signal.SIGKILL)

    return Killing


def main(folder: Path, stage: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(embedded_folder(verify=False), local_files_only=True)
    run_in(folder, tiny_model("llama", tokenizer), kind=killing(stage))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "")
