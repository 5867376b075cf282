"""What a `TrainSpec` names, as the objects that stages work with: personas, variants, judge."""

from __future__ import annotations

from prism_core.models.generator import Generator
from prism_core.personas.library import get_persona, load_personas, parse_persona
from prism_core.personas.prompts import VariantOf
from prism_core.prism.bootstrap.verification import VerifyConfig, make_judge
from prism_core.prism.demo import demo_check, demo_persona
from prism_core.prism.spec import TrainSpec
from prism_core.scorers.judges import Judge
from prism_core.types import Persona, PromptVariant


def personas_of(spec: TrainSpec) -> dict[str, Persona]:
    """The personas of a spec by name: the demo's own, or library and visitor's.

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
    """The variant that a persona's answers are written with, by the persona's name."""
    personas = personas_of(spec)
    return lambda name: PromptVariant(personas[name], spec.length, spec.placement)


def judge_of(spec: TrainSpec, model: Generator) -> tuple[VerifyConfig, Judge]:
    """The judge that a spec names."""
    config = VerifyConfig(judge=spec.judge)
    if spec.judge == "verifiable":
        return config, make_judge(config, check=demo_check)
    if spec.judge == "remote":
        from prism_core.models.remote import from_environment

        return config, make_judge(config, from_environment(spec.remote_model))
    return config, make_judge(config, model)
