"""What a `TrainSpec` names, as the objects that stages work with: personas, judge, settings."""

from __future__ import annotations

from dataclasses import replace

from prism_core.models.generator import Generator
from prism_core.models.sources import open_endpoint
from prism_core.personas.library import get_persona, load_personas, parse_persona
from prism_core.personas.prompts import VariantOf
from prism_core.prism.bootstrap.answers import ANSWERING, AnswerConfig
from prism_core.prism.bootstrap.verification import VerifyConfig
from prism_core.prism.demo import demo_check, demo_persona
from prism_core.prism.distillation.report import DistillConfig, Loss
from prism_core.prism.gating.report import GateConfig
from prism_core.prism.spec import TrainSpec, judge_reference
from prism_core.scorers.endpoint_labels import EndpointLabels
from prism_core.scorers.judges import Judge, ModelJudge, VerifiableJudge
from prism_core.types import Persona, PromptVariant


def personas_of(spec: TrainSpec) -> dict[str, Persona]:
    """Return the personas of a spec by name: the demo's own, or library and visitor's.

    Raises:
        NotFoundError: the library has no persona of a given name.
        InputError: a visitor's YAML breaks the format.
    """
    if spec.preset == "demo":
        persona = demo_persona()
        return {persona.name: persona}
    library = load_personas()
    chosen = {name: get_persona(name, library) for name in spec.personas}
    own = [parse_persona(text) for text in spec.own_personas]
    return chosen | {persona.name: persona for persona in own}


def variant_maker(spec: TrainSpec) -> VariantOf:
    """Return what maps a persona's name to the variant that its answers are written with."""
    personas = personas_of(spec)
    return lambda name: PromptVariant(personas[name], spec.length, spec.placement)


def judge_of(spec: TrainSpec, model: Generator) -> tuple[VerifyConfig, Judge]:
    """Return stage 3's settings, and the judge that a spec names."""
    config = VerifyConfig(judge=spec.judge)
    if spec.judge == "verifiable":
        return config, VerifiableJudge(demo_check)
    if spec.judge == "remote":
        return config, ModelJudge(EndpointLabels(open_endpoint(judge_reference(spec))))
    return config, ModelJudge(model)


def answer_config(spec: TrainSpec, round_number: int = 1) -> AnswerConfig:
    """Return stage 2's settings for a round, counted from 1; every round draws anew."""
    return AnswerConfig(
        length=spec.length,
        placement=spec.placement,
        sampling=replace(ANSWERING, max_new_tokens=spec.answer_tokens),
        seed=spec.seed + round_number - 1,
    )


def gate_config(spec: TrainSpec) -> GateConfig:
    """Return stage 4's settings."""
    share = spec.held_out_share
    return GateConfig(spec.feature, held_out_share=share, seed=spec.seed, threshold=spec.threshold)


def distill_config(spec: TrainSpec, loss: Loss = "kl") -> DistillConfig:
    """Return stage 5's settings."""
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
