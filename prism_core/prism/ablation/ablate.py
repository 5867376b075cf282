"""The ablation of a training run: its adapter and the baselines on the queries that it held out.

The pipeline ends with it. `prism ablate` repeats it with the paper's two ungated
LoRAs, which it trains first: SFT on all persona answers (approach 2), and KL on all of them without
verification. Neither sees a held-out query.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from prism_core.errors import InputError
from prism_core.lora.files import WEIGHTS_FILE
from prism_core.lora.weights import LoraWeights
from prism_core.models.local import LocalModel
from prism_core.prism.ablation.run import compare_systems
from prism_core.prism.ablation.settings import AblationConfig, AblationInputs
from prism_core.prism.ablation.systems import SystemParts, build_systems
from prism_core.prism.ablation.table import AblationTable
from prism_core.prism.bootstrap.answers import ANSWERING, answer_queries
from prism_core.prism.bootstrap.verification import verify_pairs
from prism_core.prism.bundle import load_bundle
from prism_core.prism.bundle_files import read_info
from prism_core.prism.demo import demo_queries, shows_behaviour
from prism_core.prism.distillation.report import Loss
from prism_core.prism.distillation.training import distill
from prism_core.prism.gating.gate import Gate
from prism_core.prism.gating.gated_model import GatedModel
from prism_core.prism.records import JudgedPair
from prism_core.prism.resolve import (
    answer_config,
    distill_config,
    judge_of,
    personas_of,
    variant_maker,
)
from prism_core.prism.spec import TrainSpec
from prism_core.progress import Progress
from prism_core.storage import unpack
from prism_core.storage.folder_store import STORE_FILE
from prism_core.storage.journal import Journal, MemoryJournal, SuffixJournal
from prism_core.utils.cache_folder import sha256_of

UNGATED: tuple[Loss, ...] = ("sft", "kl")
"""The ungated LoRAs, which are also the names of their folders inside a run's folder."""


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

    Both use the run's LoRA settings, and go to `sft` and `kl` inside its folder.
    """
    seen = [j.pair for j in judged if j.pair.query.id not in held_out]
    unseen = [j.pair for j in judged if j.pair.query.id in held_out]
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


def ablate_run(
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
    """Compare base, prompts, ungated LoRAs where they were trained, PRISM and its gates.

    The bundle is read from `adapter` inside the run's folder, or from `bundle`.
    """
    rows = [j for j in judged if j.pair.query.id in held_out]
    personas = tuple(personas_of(spec).values())
    parts = SystemParts(
        base=model,
        variant_of=variant_maker(spec),
        # With one persona there is nothing to choose.
        personas=personas if len(personas) > 1 else (),
        prism=load_bundle(bundle or folder / "adapter", model),
        sft=_ungated(folder / "sft", model),
        kl=_ungated(folder / "kl", model),
        seed=spec.seed,
    )
    systems, missing = build_systems(parts, rows)
    config = AblationConfig(
        sampling=replace(ANSWERING, max_new_tokens=spec.answer_tokens),
        seed=spec.seed,
        max_tokens=spec.max_tokens,
        judge=spec.judge,
    )
    behaviour = shows_behaviour if spec.preset == "demo" else None
    inputs = AblationInputs(rows, systems, missing, behaviour)
    judge = judge_of(spec, model)[1]
    return compare_systems(config, inputs, judge, parts.variant_of, model, journal, progress)


def ablate_bundle(bundle: Path, model: LocalModel, progress: Progress) -> AblationTable:
    """Examine a bundle whose run is not at hand: on the demo's held-out queries, asked again.

    Raises:
        NotFoundError: it is no bundle.
        InputError: it was not trained on the demo's queries, or does not name the held-out ones.
        ModelError: it belongs to another base model.
    """
    info = read_info(bundle)
    settings = dict(info.settings)
    if settings.get("preset") != "demo":
        raise InputError(
            f"'{info.name}' does not hold the queries it can be examined on. Give the folder that "
            f"`train --out` wrote, with its {STORE_FILE}."
        )
    queries = [query for query in demo_queries() if query.id in info.held_out]
    if not queries:
        raise InputError(f"'{info.name}' does not say which of the demo's queries were held out.")
    spec = unpack(TrainSpec, settings)
    journal = MemoryJournal()
    config, personas = answer_config(spec), personas_of(spec)
    pairs = answer_queries(config, queries, personas, model, journal, progress)
    verify, judge = judge_of(spec, model)
    judged = verify_pairs(verify, pairs, judge, journal, progress)
    return ablate_run(spec, judged, info.held_out, bundle, model, journal, progress, bundle=bundle)


def _ungated(folder: Path, model: LocalModel) -> GatedModel | None:
    """Load an adapter that was trained without a gate; None where there is none."""
    weights = folder / WEIGHTS_FILE
    if not weights.is_file():
        return None
    gate, digest = Gate.always_open(model.model), sha256_of(weights)[:16]
    return GatedModel(model, LoraWeights.load(folder, model.model), gate, adapter_hash=digest)
