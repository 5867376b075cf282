"""`prism compare`: one question, several arms, text or one JSON object."""

from __future__ import annotations

import argparse
from typing import Any, cast

from prism_core.cli.adapter import find_bundle, local_model
from prism_core.cli.options import add_fields, add_json, add_model, given_fields
from prism_core.cli.output import clean_stdout, emit_json, open_model, printable
from prism_core.compare.comparison import (
    ARMS,
    ArmAnswer,
    ArmKind,
    ComparisonRequest,
    check_request,
    compare,
)
from prism_core.errors import InputError
from prism_core.personas.library import get_persona, load_personas
from prism_core.types import LENGTHS, PLACEMENTS, PromptVariant, Sampling

_SAMPLING = {
    "max_new_tokens": "the longest answer (default: 256)",
    "temperature": "0 (default) is greedy",
    "top_p": "share of the probability that is drawn from (default: 1, all)",
    "top_k": "tokens that are drawn from (default: 0, all)",
    "repetition_penalty": "above 1 repeats less (default: 1)",
}


HELP = "answer a question with and without a persona"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command to argparse."""
    add_model(parser)
    add = parser.add_argument
    add("--question", required=True, help="what to ask")
    add("--persona", default="math", metavar="NAME", help="see `personas` (default: math)")
    add("--length", choices=LENGTHS, default="long", help="which of its texts (default: long)")
    add("--placement", choices=PLACEMENTS, default="system", help="its turn (default: system)")
    add("--arms", default="neutral,persona", help=f"any of {','.join(ARMS)}, separated by commas")
    add("--control", default="neutral_text", metavar="NAME", help="text of the control arm")
    add("--adapter", metavar="DIR", help="an adapter, or its run's folder, for the arm `prism`")
    add_fields(parser, Sampling, _SAMPLING)
    add_json(parser)


def run(args: argparse.Namespace) -> None:
    """Answer by all arms, then print them."""
    from prism_core.prism.bundle import load_bundle

    request = _request(args)
    check_request(request)
    if args.adapter and "prism" not in request.arms:
        raise InputError("An adapter answers as the arm 'prism'; add it to --arms.")
    with clean_stdout():
        bundle = find_bundle(args.adapter)[0] if args.adapter else None
        model = open_model(args.model)
        adapter = load_bundle(bundle, local_model(model)) if bundle else None
        *_, answers = compare(request, model, adapter=adapter)
    if args.json:
        emit_json(_as_json(request, model.name, answers))
    else:
        print(_as_text(model.name, answers))


def _request(args: argparse.Namespace) -> ComparisonRequest:
    personas = load_personas()
    arms = tuple(cast(ArmKind, a.strip()) for a in args.arms.split(",") if a.strip())
    return ComparisonRequest(
        question=args.question,
        arms=arms,
        variant=PromptVariant(get_persona(args.persona, personas), args.length, args.placement),
        control=get_persona(args.control, personas),
        sampling=Sampling(**given_fields(args, _SAMPLING)),
        seed=args.seed,
    )


def _as_json(
    request: ComparisonRequest, model: str, answers: tuple[ArmAnswer, ...]
) -> dict[str, Any]:
    return {
        "model": model,
        "question": request.question,
        "variant": request.variant.label,
        "seed": request.seed,
        "arms": [_arm_json(a) for a in answers],
    }


def _arm_json(answer: ArmAnswer) -> dict[str, Any]:
    """Return one arm; what was not measured is null, and what does not apply is left out."""
    done = answer.completion
    arm: dict[str, Any] = {
        "arm": answer.arm,
        "label": answer.label,
        "text": done.text if done else None,
        "tokens": done.tokens if done else None,
        "seconds": round(done.seconds, 3) if done else None,
        "prompt_tokens": done.prompt_tokens if done else None,
        "finish": done.finish if done else None,
    }
    if done and done.thought:
        arm["thought"] = done.thought
    if done and done.gate:
        arm["gate"] = {"probability": done.gate.probability, "open": done.gate.is_open}
    if answer.draft:
        arm["draft"] = answer.draft.text
    if answer.note:
        arm["note"] = answer.note
    return arm


def _as_text(model: str, answers: tuple[ArmAnswer, ...]) -> str:
    """Return all arms for a person to read, without a model's control characters."""
    blocks = [f"Model: {model}"]
    for answer in answers:
        lines = [f"== {answer.label} =="]
        if answer.draft:
            lines += ["Draft:", answer.draft.text, "", "Verified:"]
        done = answer.completion
        if done:
            lines += [done.text, f"-- {done.tokens} tokens in {done.seconds:.1f} s"]
        if answer.note:
            lines.append(f"({answer.note})")
        blocks.append("\n".join(lines))
    return printable("\n\n".join(blocks))
