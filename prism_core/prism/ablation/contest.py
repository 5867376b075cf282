"""A finished run's adapter against its rivals, on the queries that the run held out.

The pipeline ends with this. `ablate` repeats it with the paper's two ungated LoRAs, which it trains
first: SFT on all persona answers (approach 2), and KL on all of them without verification. Neither
sees a held-out query.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from prism_core.lora.weights import WEIGHTS_FILE, LoraWeights
from prism_core.models.local import LocalModel
from prism_core.prism.ablation.evaluation import compare_routes
from prism_core.prism.ablation.rivals import AblationConfig, Rivals
from prism_core.prism.ablation.systems import Adapter, Ingredients, build_systems
from prism_core.prism.ablation.table import AblationTable
from prism_core.prism.bootstrap.answers import ANSWERING
from prism_core.prism.bundle import load_bundle
from prism_core.prism.demo import shows_behaviour
from prism_core.prism.distillation.report import DistillConfig, Loss
from prism_core.prism.distillation.training import distill
from prism_core.prism.records import JudgedPair
from prism_core.prism.resolve import judge_of, personas_of, variant_maker
from prism_core.prism.spec import TrainSpec
from prism_core.progress import Progress
from prism_core.storage.journal import Journal, SuffixJournal
from prism_core.utils.cache_folder import sha256_of

UNGATED: tuple[Loss, ...] = ("sft", "kl")
"""The ungated LoRAs, which are also the names of their folders inside a run's folder."""


def distill_config(spec: TrainSpec, loss: Loss = "kl") -> DistillConfig:
    """Stage 5's settings for a spec."""
    return DistillConfig(
        rank=spec.rank,
        alpha=spec.alpha,
        lr=spec.learning_rate,
        epochs=spec.epochs,
        batch=spec.batch_size,
        max_tokens=spec.max_tokens,
        temperature=spec.temperature,
        top_k=spec.top_k,
        loss=loss,
        save_dtype="float16",
        seed=spec.seed,
    )


def train_ungated(
    spec: TrainSpec,
    judged: Sequence[JudgedPair],
    held_out: Collection[str],
    folder: Path,
    model: LocalModel,
    journal: Journal,
    progress: Progress,
) -> None:
    """Train the two ungated LoRAs on all persona answers outside the held-out queries.

    Args:
        spec: the run's choices; both use its LoRA settings.
        judged: all judged pairs of the run.
        held_out: ids of the queries that must not be seen.
        folder: the run's folder; the LoRAs go to `sft` and `kl` inside it.
        model: the base model.
        journal: the run's journal.
        progress: told of every step.
    """
    away = set(held_out)
    seen = [j.pair for j in judged if j.pair.query.id not in away]
    unseen = [j.pair for j in judged if j.pair.query.id in away]
    for loss in UNGATED:
        distill(
            distill_config(spec, loss),
            seen,
            variant_maker(spec),
            model,
            folder / loss,
            SuffixJournal(journal, f"@{loss}"),
            progress,
            held_out=unseen,
        )


def hold_contest(
    spec: TrainSpec,
    judged: Sequence[JudgedPair],
    held_out: Collection[str],
    folder: Path,
    model: LocalModel,
    journal: Journal,
    progress: Progress,
    *,
    bundle: Path | None = None,
) -> AblationTable:
    """One table: base, prompts, ungated LoRAs where they were trained, PRISM and its gates.

    Args: as `train_ungated`; the bundle is read from `adapter` inside the folder, or from `bundle`.
    """
    away = set(held_out)
    rows = [j for j in judged if j.pair.query.id in away]
    parts = Ingredients(
        base=model,
        variant_of=variant_maker(spec),
        # With one persona there is nothing to choose.
        personas=tuple(personas_of(spec).values()) if len(personas_of(spec)) > 1 else (),
        prism=load_bundle(bundle or folder / "adapter", model),
        sft=_ungated(folder / "sft", model),
        kl=_ungated(folder / "kl", model),
        seed=spec.seed,
    )
    systems, absent = build_systems(parts, rows)
    config = AblationConfig(
        sampling=replace(ANSWERING, max_new_tokens=spec.answer_tokens),
        seed=spec.seed,
        max_tokens=spec.max_tokens,
        judge=spec.judge,
    )
    behaviour = shows_behaviour if spec.preset == "demo" else None
    rivals = Rivals(rows, systems, absent, behaviour)
    judge = judge_of(spec, model)[1]
    return compare_routes(config, rivals, judge, parts.variant_of, model, journal, progress)


def _ungated(folder: Path, model: LocalModel) -> Adapter | None:
    weights = folder / WEIGHTS_FILE
    if not weights.is_file():
        return None
    return Adapter(LoraWeights.load(folder, model.model), sha256_of(weights)[:16])
