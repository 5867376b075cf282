"""What a GPU does with the real shapes of Qwen2.5-1.5B and 7B, random weights, in bf16.

Runs unattended, each part in a process of its own, and prints ratios and peak memory:
  decoding      ours, and what transformers offers, against `model.generate`
  gate          asking the gate against a prefill; answers gated against the base's
  distillation  a step in batches against one sample at a time, and the plainest loop
  equality      what ought to be equal in bf16, and how much of it is
`--tiny` tries the script on the processor with a tiny model; its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator

from benchmarks.distillation import HEAT, SETTINGS, plain_step, step_of
from benchmarks.support.decoding_loops import Loops
from benchmarks.support.equalities import print_equalities
from benchmarks.support.random_models import (
    SHAPES,
    modes,
    random_gated,
    random_model,
    random_prompts,
)
from prism_core.inference.padding import pad_left
from prism_core.lora.training import trainable_lora
from prism_core.models.chat import encode_prompt
from prism_core.models.local import LocalModel
from prism_core.prism.distillation.student import Student
from prism_core.prism.distillation.teacher import TeacherSpec, cache_teacher_logits, load_teacher
from prism_core.prism.distillation.teacher_forcing import ForcedAnswer
from prism_core.types import Completion, Prompt, Sampling

PROMPT_TOKENS = 120


@dataclass(frozen=True)
class Work:
    """How much is done."""

    device: torch.device
    dtype: torch.dtype
    turns: int
    rows: tuple[int, ...] = (1, 16, 64)
    new_tokens: int = 128
    samples: int = 16
    answer: int = 256
    """Tokens of an answer to be learnt."""
    together: tuple[int, ...] = (1024, 4096)
    """Padded tokens of a training pass: the product's default, and what a GPU has room for."""


Part = Callable[[LocalModel, Work], None]


def main() -> int:
    """Run every part for every model; return how many failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=list(SHAPES), default=["1.5B", "7B"])
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--tiny", action="store_true", help="a tiny model on the processor")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.tiny and not torch.cuda.is_available():
        print("There is no CUDA device here; --tiny tries the script on the processor.")
        return 0
    models = ["tiny"] if args.tiny else args.models
    if args.here:
        run(models[0], args.parts[0], work_of(args))
        return 0
    where = "the processor, no numbers to quote" if args.tiny else torch.cuda.get_device_name()
    print(f"{where}; torch {torch.__version__}", flush=True)
    failed = 0
    for model in models:
        for part in args.parts:
            print(f"== {model}: {part}", flush=True)
            command = [sys.executable, __file__, "--here", "--models", model, "--parts", part]
            command += ["--turns", str(args.turns), *(["--tiny"] if args.tiny else [])]
            # A part that runs out of memory, or that this GPU cannot do, must not end the others.
            failed += subprocess.run(command, check=False).returncode != 0
    print(f"{failed} parts failed" if failed else "all parts ran")
    return failed


def work_of(args: argparse.Namespace) -> Work:
    """Return how much to do."""
    if not args.tiny:
        return Work(torch.device("cuda"), torch.bfloat16, args.turns)
    return Work(torch.device("cpu"), torch.bfloat16, args.turns, (1, 3), 8, 3, 12, (64, 128))


def run(name: str, part: str, work: Work) -> None:
    """Build the model and do one part with it."""
    model = random_model(name, work.device, work.dtype)
    PARTS[part](model, work)


def decoding(model: LocalModel, work: Work) -> None:
    """Compare the loops that write many answers, and one."""
    for rows in work.rows:
        prompts = random_prompts(model, rows, PROMPT_TOKENS)
        sampling = Sampling(work.new_tokens, 0.7, 0.9)
        with Loops(model, prompts, sampling) as loops:
            print(f"{rows} rows x {work.new_tokens} tokens, per second:")
            compare(loops.arms(), work)


def gate(model: LocalModel, work: Work) -> None:
    """Compare asking the gate with reading the prompts, and gated answers with the base's."""
    sampling = Sampling(work.new_tokens, 0.7, 0.9)
    with tempfile.TemporaryDirectory() as folder:
        gated = random_gated(model, Path(folder))
    for rows in work.rows:
        prompts = random_prompts(model, rows, PROMPT_TOKENS)
        ids, mask = pad_left([encode_prompt(model.tokenizer, p) for p in prompts], work.device)

        def prefill(ids: torch.Tensor = ids, mask: torch.Tensor = mask) -> int:
            with torch.inference_mode():
                model.model(input_ids=ids, attention_mask=mask, logits_to_keep=1)
            return ids.numel()

        def ask(prompts: list[Prompt] = prompts, tokens: int = ids.numel()) -> int:
            gated.probabilities(prompts)
            return tokens

        print(f"{rows} rows, prompt tokens per second:")
        compare({"prefill": prefill, "asking the gate": ask}, work)
        write = partial(model.generate, prompts, sampling, range(rows))
        route = partial(gated.generate, prompts, sampling, range(rows))
        arms: dict[str, Callable[[], int]] = {"base": lambda write=write: written(write())}
        for name, gates in modes(rows).items():
            arms[name] = lambda route=route, gates=gates: written(route(gates=gates))
        print(f"{rows} rows x {work.new_tokens} tokens, per second:")
        compare(arms, work)


def written(answers: Sequence[Completion]) -> int:
    """Count the tokens of answers."""
    return sum(answer.tokens for answer in answers)


def distillation(model: LocalModel, work: Work) -> None:
    """Compare a step in batches with one sample at a time, and with the plainest loop."""
    samples = forced(model, work)
    tokens = sum(len(s.student) + len(s.answer) for s in samples)
    with tempfile.TemporaryDirectory() as folder:
        spec = TeacherSpec(64, HEAT)
        cache_teacher_logits(samples, model, spec, Path(folder))
        teacher = load_teacher(samples, model, spec, Path(folder))
    accelerator = Accelerator(cpu=work.device.type == "cpu")
    with trainable_lora(model.model, 16, 32, 0) as peft:
        arms: dict[str, Callable[[], int]] = {}
        for name, most in (("one at a time", 1), *((f"{n} tokens", n) for n in work.together)):
            config = replace(SETTINGS, micro_tokens=most)
            step = step_of(Student(model.model, peft, samples, teacher, config, accelerator))
            arms[name] = lambda step=step: (step(len(samples)), tokens)[1]
        print(f"a step of {len(samples)} answers, {tokens} tokens, tokens per second:")
        ours = compare(arms, work)
        plain = plain_step(peft, samples)  # last: it undoes what makes our own maps fast
        print("the same by the plainest loop, tokens per second:")
        (theirs,) = compare({"plain loop": lambda: (plain(len(samples)), tokens)[1]}, work)
        print(f"  in batches against the plainest loop: {max(ours) / theirs:.2f} x")


def forced(model: LocalModel, work: Work) -> list[ForcedAnswer]:
    """Make answers to be learnt, up to a third shorter than the longest, behind two prompts."""
    asked = [
        tuple(encode_prompt(model.tokenizer, prompt))
        for prompt in random_prompts(model, work.samples, PROMPT_TOKENS)
    ]
    answers = [
        tuple(encode_prompt(model.tokenizer, prompt))
        for prompt in random_prompts(model, work.samples, work.answer, seed=1)
    ]
    persona = tuple(encode_prompt(model.tokenizer, random_prompts(model, 1, 150, seed=2)[0]))
    return [
        ForcedAnswer(str(i), (*persona, *prompt), prompt, answer, 1)
        for i, (prompt, answer) in enumerate(zip(asked, answers, strict=True))
    ]


def equality(model: LocalModel, work: Work) -> None:
    """Print what is equal in the number format of the GPU."""
    print_equalities(model, PROMPT_TOKENS, work.new_tokens)


def compare(arms: Mapping[str, Callable[[], int]], work: Work) -> list[float]:
    """Time all arms in turns; print, and return, units a second; print ratios and peak memory."""
    on_gpu = work.device.type == "cuda"
    speeds: dict[str, list[float]] = {name: [] for name in arms}
    peaks: dict[str, float] = {}
    for arm in arms.values():
        arm()  # compiles, captures graphs, fills caches
    for _ in range(work.turns):
        for name, arm in arms.items():
            if on_gpu:
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
            began = time.perf_counter()
            done = arm()
            if on_gpu:
                torch.cuda.synchronize()
                peaks[name] = torch.cuda.max_memory_allocated() / 1e9
            speeds[name].append(done / (time.perf_counter() - began))
    first = next(iter(speeds.values()))
    medians = [statistics.median(found) for found in speeds.values()]
    for (name, found), median in zip(speeds.items(), medians, strict=True):
        ratio = statistics.median(a / b for a, b in zip(found, first, strict=True))
        peak = f", peak {peaks[name]:.2f} GB" if on_gpu else ""
        print(f"  {name:<26} {median:10.0f}   ratio {ratio:.2f}{peak}", flush=True)
    return medians


PARTS: dict[str, Part] = {
    "decoding": decoding,
    "gate": gate,
    "distillation": distillation,
    "equality": equality,
}


if __name__ == "__main__":
    raise SystemExit(main())
