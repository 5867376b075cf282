"""Sampled decoding against `model.generate` with the same settings, in turns, on one model.

Prints the ratios of tokens per second (64 different questions, one), the time of three arms against
one, and what fused weights gain where an adapter is on: for one open row, and for a comparison of
neutral, persona and PRISM.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from app.compare.form import DEFAULT_SAMPLING
from benchmarks.support.questions import QUESTIONS
from prism_core.inference.padding import pad_left
from prism_core.models.chat import encode_prompt
from prism_core.models.generator import Generator
from prism_core.models.local import LocalModel
from prism_core.personas.library import load_personas
from prism_core.personas.prompts import build_prompt
from prism_core.prism.bundle import load_bundle
from prism_core.types import Message, Prompt, PromptVariant, Sampling
from prism_core.utils.assets import ASSETS

ADAPTER = ASSETS / "adapters" / "demo"


def main() -> None:
    """Run both sides in turns and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--temperature", type=float, default=DEFAULT_SAMPLING.temperature)
    parser.add_argument("--top-p", type=float, default=DEFAULT_SAMPLING.top_p)
    parser.add_argument("--top-k", type=int, default=DEFAULT_SAMPLING.top_k)
    parser.add_argument("--penalty", type=float, default=DEFAULT_SAMPLING.repetition_penalty)
    parser.add_argument("--only", choices=("plain", "arms", "gated"))
    args = parser.parse_args()
    model = LocalModel.load("embedded")
    # The app's default sampling, unless told otherwise. The end token ends nothing on either side,
    # so that every row has the same length and both sides do the same work.
    sampling = Sampling(args.tokens, args.temperature, args.top_p, args.top_k, args.penalty)
    print(sampling)
    parts = {"plain": plain, "arms": arms, "gated": gated}
    for name, part in parts.items():
        if args.only in (None, name):
            part(model, sampling, args.turns)


def plain(model: LocalModel, sampling: Sampling, turns: int) -> None:
    """Compare many rows, and one, with the library's own loop."""
    for rows in (64, 1):
        prompts = [(Message("user", QUESTIONS[i]),) for i in range(rows)]
        speed = in_turns(
            turns,
            lambda p=prompts: ours(model, model, p, sampling),
            lambda p=prompts: theirs(model, p, sampling),
        )
        print(f"{rows} rows x {sampling.max_new_tokens} tokens: {speed}", flush=True)


def arms(model: LocalModel, sampling: Sampling, turns: int) -> None:
    """Compare three arms with one."""
    three = [(Message("user", QUESTIONS[0]),)] * 3
    ratio = in_turns(
        turns,
        lambda: 1 / timed(lambda: ours(model, model, three[:1], sampling)),
        lambda: 1 / timed(lambda: ours(model, model, three, sampling)),
    )
    print(f"three arms against one (time ratio, lower is better): {ratio}", flush=True)


def gated(model: LocalModel, sampling: Sampling, turns: int) -> None:
    """Compare fused weights with the library's layers, with the adapter on."""
    prism = load_bundle(ADAPTER, model, threshold=0.0)  # open for every row that asks it
    library = LocalModel(model.weights, fast=lambda _model: None)
    plain_prism = load_bundle(ADAPTER, library, threshold=0.0)
    neutral = build_prompt(QUESTIONS[0], PromptVariant())
    persona = PromptVariant(load_personas()["math"], "long", "system")
    compared = [neutral, build_prompt(QUESTIONS[0], persona, model.has_system_role), neutral]
    cases = (
        ("one open row", [neutral], ["open"]),
        ("neutral, persona, PRISM open", compared, ["closed", "closed", "open"]),
    )
    for name, prompts, gates in cases:
        ratio = in_turns(
            turns,
            lambda p=prompts, g=gates: ours(model, prism, p, sampling, gates=g),
            lambda p=prompts, g=gates: ours(library, plain_prism, p, sampling, gates=g),
        )
        print(f"{name}, fused against the library's layers: {ratio}", flush=True)
        ratio = in_turns(
            turns,
            lambda p=prompts, g=gates: ours(model, prism, p, sampling, gates=g),
            lambda p=prompts: ours(model, model, p, sampling),
        )
        print(f"{name}, against the base alone: {ratio}", flush=True)


def in_turns(turns: int, first: Callable[[], float], second: Callable[[], float]) -> str:
    """Measure the speeds of both sides alternately, and the median of their ratios."""
    first(), second()  # warm-up
    pairs = [(first(), second()) for _ in range(turns)]
    ratio = statistics.median(a / b for a, b in pairs)
    a, b = (statistics.median(side) for side in zip(*pairs, strict=True))
    return f"{a:.3g} against {b:.3g} per second, ratio {ratio:.2f}"


def timed(work: Callable[[], object]) -> float:
    """Measure the seconds that the work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def ours(
    base: LocalModel, model: Generator, prompts: list[Prompt], sampling: Sampling, **more: object
) -> float:
    """Measure tokens per second of `generate`, of the base or of a model on it.

    What earlier turns read is forgotten: the other side reads its prompts every time.
    """
    stops, base.stop_ids = base.stop_ids, frozenset()
    with base.lock:
        base._backend._prefixes.clear()
    try:
        start = time.perf_counter()
        answers = model.generate(prompts, sampling, seed=list(range(len(prompts))), **more)
        return sum(a.tokens for a in answers) / (time.perf_counter() - start)
    finally:
        base.stop_ids = stops


def theirs(model: LocalModel, prompts: list[Prompt], sampling: Sampling) -> float:
    """Measure tokens per second of transformers' own loop."""
    start = time.perf_counter()
    rows = [encode_prompt(model.tokenizer, p) for p in prompts]
    ids, mask = pad_left(rows, model.model.device)
    with torch.inference_mode():
        out = model.model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=True,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            repetition_penalty=sampling.repetition_penalty,
            min_new_tokens=sampling.max_new_tokens,
            max_new_tokens=sampling.max_new_tokens,
        )
    model.tokenizer.batch_decode(out[:, ids.shape[1] :], skip_special_tokens=True)
    new = (out.shape[1] - ids.shape[1]) * len(prompts)
    return new / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
