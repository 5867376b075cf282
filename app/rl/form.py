"""The RL form's raw values turned into a checked `RlSpec`, and the limits of this deployment.

Nothing here knows Gradio. Values may come from the page or straight over HTTP, so limits are
enforced here and not by the fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from app.common.form_values import (
    check_listed,
    check_model,
    check_within,
    find_preset,
    read_field,
    within,
)
from app.services.settings import Settings
from prism_core.errors import InputError
from prism_core.rl.spec import RL_PRESETS, RlSpec, check_rl_spec

PUBLIC_MOST = {
    "steps": 40,
    "prompts": 4,
    "rollouts": 8,
    "rank": 16,
    "held_out": 64,
    "repeats": 2,
    "answer_tokens": 64,
}
"""What a visitor of a public copy may ask for."""
PUBLIC_FAMILIES = ("letters", "sums", "products", "needle")
_LABELS = {
    "prompts": "Questions a step",
    "rollouts": "Answers to each question",
    "answer_tokens": "Longest answer",
    "persona_share": "Share of prompts with a persona",
    "kl_weight": "Weight of the KL",
    "held_out": "Held-out questions",
    "repeats": "Answers to each held-out question",
}


def rl_spec_of(values: Mapping[str, Any], settings: Settings) -> RlSpec:
    """Return the run that the form describes.

    Raises:
        InputError: a value is missing or not allowed; the message quotes it and says what is.
        NotFoundError: there is no such family.
    """
    found = {name: read_field(RlSpec, name, value, _LABELS) for name, value in values.items()}
    found["model"] = check_model(found["model"])
    preset = find_preset(RL_PRESETS, found["preset"])
    # What the form does not show comes from the preset.
    spec = check_rl_spec(replace(preset, **found, use_vllm=False, micro_batch=0))
    if settings.public:
        check_within(spec, PUBLIC_MOST, _LABELS)
        if spec.family not in PUBLIC_FAMILIES:
            raise InputError(
                f"The family '{spec.family}' cannot be used on this public copy; choose one of "
                f"{', '.join(PUBLIC_FAMILIES)}."
            )
        check_listed(spec.model, settings)
    return spec


def rl_within(spec: RlSpec, settings: Settings) -> RlSpec:
    """Return the spec with what exceeds this deployment's limits lowered to them."""
    if not settings.public:
        return spec
    family = spec.family if spec.family in PUBLIC_FAMILIES else PUBLIC_FAMILIES[-1]
    return replace(within(spec, PUBLIC_MOST), family=family)


def rl_plan(spec: RlSpec) -> str:
    """Say what the run will do."""
    if spec.arm == "sft":
        work = f"{spec.steps * spec.prompts:,} gold answers are learnt in {spec.steps} steps"
    else:
        rollouts = spec.steps * spec.prompts * spec.rollouts
        work = (
            f"{spec.steps} steps of {spec.prompts} questions, with {spec.rollouts} answers to "
            f"each: {rollouts:,} answers are written and verified"
        )
    mixed = f"{spec.persona_share:.0%} of the prompts carry a persona of the training pool."
    if spec.arm == "rlvr":
        mixed = "No prompt carries a persona."
    return (
        f"{work}. {mixed} Base model and adapter then answer the same {spec.held_out} questions "
        "that training never saw."
    )
