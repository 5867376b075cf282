"""Sampled decoding against `model.generate` with the same settings, in turns, on one model.

Prints the ratios of tokens per second (64 different questions, one) and the time of three arms
against one.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from app.state import DEFAULT_SAMPLING
from prism_core.chat import encode_prompt
from prism_core.decoding import pad_left
from prism_core.models import LocalModel
from prism_core.types import Message, Prompt, Sampling

TOPICS = (
    "a long walk by the sea",
    "how a bicycle stays upright",
    "the work of a baker from midnight to morning",
    "what a visitor should know before climbing a mountain",
    "a lighthouse and its last keeper",
    "how a seed becomes a tree",
    "moving to a new city",
    "trains and aeroplanes for a journey of 500 km",
)
WISHES = (
    "Write a letter to a friend about",
    "Explain to a child",
    "Give five pieces of advice on",
    "Tell a short story about",
    "Write a newspaper article on",
    "List the most common mistakes people make about",
    "Prepare a short speech on",
    "Ask and answer three questions about",
)
QUESTIONS = tuple(f"{wish} {topic}." for wish in WISHES for topic in TOPICS)


def main() -> None:
    """Run both sides in turns and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--temperature", type=float, default=DEFAULT_SAMPLING.temperature)
    parser.add_argument("--top-p", type=float, default=DEFAULT_SAMPLING.top_p)
    parser.add_argument("--top-k", type=int, default=DEFAULT_SAMPLING.top_k)
    parser.add_argument("--penalty", type=float, default=DEFAULT_SAMPLING.repetition_penalty)
    args = parser.parse_args()
    model = LocalModel.load("embedded")
    # The app's default sampling, unless told otherwise. The end token ends nothing on either side,
    # so that every row has the same length and both sides do the same work.
    sampling = Sampling(args.tokens, args.temperature, args.top_p, args.top_k, args.penalty)
    print(sampling)
    for rows in (64, 1):
        prompts = [(Message("user", QUESTIONS[i]),) for i in range(rows)]
        speed = in_turns(
            args.turns,
            lambda p=prompts: ours(model, p, sampling),
            lambda p=prompts: theirs(model, p, sampling),
        )
        print(f"{rows} rows x {args.tokens} tokens: {speed}")
    arms = [(Message("user", QUESTIONS[0]),)] * 3
    print(
        "three arms against one (time ratio, lower is better): "
        + in_turns(
            args.turns,
            lambda: 1 / timed(lambda: ours(model, arms[:1], sampling)),
            lambda: 1 / timed(lambda: ours(model, arms, sampling)),
        )
    )


def in_turns(turns: int, first: Callable[[], float], second: Callable[[], float]) -> str:
    """Speeds of both sides measured alternately, and the median of their ratios."""
    first(), second()  # warm-up
    pairs = [(first(), second()) for _ in range(turns)]
    ratio = statistics.median(a / b for a, b in pairs)
    a, b = (statistics.median(side) for side in zip(*pairs, strict=True))
    return f"{a:.3g} against {b:.3g} per second, ratio {ratio:.2f}"


def timed(work: Callable[[], object]) -> float:
    """Seconds that the work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def ours(model: LocalModel, prompts: list[Prompt], sampling: Sampling) -> float:
    """Tokens per second of `LocalModel.generate`."""
    stops, model._stop_ids = model._stop_ids, frozenset()
    try:
        start = time.perf_counter()
        answers = model.generate(prompts, sampling, seed=list(range(len(prompts))))
        return sum(a.tokens for a in answers) / (time.perf_counter() - start)
    finally:
        model._stop_ids = stops


def theirs(model: LocalModel, prompts: list[Prompt], sampling: Sampling) -> float:
    """Tokens per second of transformers' own loop."""
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
