"""Distillation: tokens a second and peak memory, against one sample at a time.

Three ways to take one step of 16 answers, each in a process of its own, in turns:
  batched   this product: batches padded by length, teacher cached, logits at answers only;
  single    the very same loop with one sample at a time (and the cached teacher);
  plain     a straightforward loop: one sample at a time, the teacher read again at every step,
            logits and KL over the whole vocabulary, kept for the backward pass.
The cached teacher's cost is shared by 10 epochs, the paper's number, and is included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator
from peft import PeftModel
from torch.nn import functional

from prism_core.lora.training import trainable_lora
from prism_core.models.local import LocalModel
from prism_core.personas.prompts import build_prompt
from prism_core.prism.demo import demo_persona, demo_queries
from prism_core.prism.distillation.report import DistillConfig
from prism_core.prism.distillation.student import Student
from prism_core.prism.distillation.teacher import TeacherSpec, cache_teacher_logits, load_teacher
from prism_core.prism.distillation.teacher_forcing import ForcedAnswer, force
from prism_core.prism.records import AnswerPair
from prism_core.storage.values import dumps, loads, unpack
from prism_core.types import PromptVariant, Sampling
from prism_core.utils.memory import peak_memory_bytes

ARMS = ("batched", "single", "plain")
EPOCHS = 10
SETTINGS = DistillConfig(loss="kl", clip=1.0, weight_decay=0.0, micro_tokens=1024)
HEAT = 2.0


def main() -> None:
    """Write answers once, then run the arms in turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--answers", type=int, default=16)
    parser.add_argument("--arm", choices=ARMS)
    parser.add_argument("--file", type=Path)
    args = parser.parse_args()
    if args.arm:
        print(json.dumps(measure(args.arm, args.file)))
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "answers.json"
        write_answers(file, args.answers)
        found: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
        for _ in range(args.turns):
            for arm in ARMS:
                found[arm].append(child(arm, file))
    report(found)


def child(arm: str, file: Path) -> dict[str, float]:
    """Run one arm in a fresh process, so that its peak memory is its own."""
    command = [sys.executable, __file__, "--arm", arm, "--file", str(file)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    result: dict[str, float] = json.loads(out.splitlines()[-1])
    return result


def report(found: dict[str, list[dict[str, float]]]) -> None:
    """Print medians, and the median of the ratios within a turn."""
    for arm, runs in found.items():
        wall, cpu = ([r["tokens"] / r[kind] for r in runs] for kind in ("wall", "cpu"))
        pairs = list(zip(runs, found["batched"], strict=True))
        faster = [statistics.median(a[k] / b[k] for a, b in pairs) for k in ("wall", "cpu")]
        print(
            f"{arm:<8} {statistics.median(wall):6.0f} tokens/s   batched is {faster[0]:.2f}x as "
            f"fast (by CPU time {faster[1]:.2f}x)   peak {max(r['peak'] for r in runs) / 1e9:.2f} "
            f"GB, of it the model alone {min(r['model'] for r in runs) / 1e9:.2f} GB"
        )
        print(f"         {statistics.median(cpu):6.0f} tokens per CPU second")


def write_answers(file: Path, count: int) -> None:
    """Let the model answer with the demo's persona."""
    model = LocalModel.load("embedded")
    queries = [q for q in demo_queries() if q.wanted][:count]
    prompts = [build_prompt(q.text, PromptVariant(demo_persona())) for q in queries]
    sampling = Sampling(max_new_tokens=56, temperature=0.7, top_p=0.9)
    answers = model.generate(prompts, sampling, seed=list(range(len(prompts))))
    pairs = [AnswerPair(q, a, a) for q, a in zip(queries, answers, strict=True)]
    file.write_text(dumps(pairs), encoding="utf-8")


def measure(arm: str, file: Path) -> dict[str, float]:
    """Measure the seconds of one step by one arm, its share of the teacher included."""
    model = LocalModel.load("embedded")
    pairs = [unpack(AnswerPair, one) for one in loads(file.read_text(encoding="utf-8"))]
    samples = force(pairs, lambda _name: PromptVariant(demo_persona()), model, 1024)
    alone = peak_memory_bytes() or 0
    with tempfile.TemporaryDirectory() as folder:
        spec = TeacherSpec(64, HEAT)
        once = (0.0, 0.0)
        if arm != "plain":
            once = timed(lambda: cache_teacher_logits(samples, model, spec, Path(folder)))
        with trainable_lora(model.model, 16, 32, 0) as peft:
            if arm == "plain":
                step = plain_step(peft, samples)
            else:
                tokens = 1 if arm == "single" else SETTINGS.micro_tokens
                student = Student(
                    model.model,
                    peft,
                    samples,
                    load_teacher(samples, model, spec, Path(folder)),
                    replace(SETTINGS, micro_tokens=tokens),
                    Accelerator(cpu=True),
                )
                step = step_of(student)
            step(len(samples))  # warm-up: a first step also pays for its memory
            wall, cpu = timed(lambda: step(len(samples)))
    return {
        "tokens": sum(len(s.student) + len(s.answer) for s in samples),
        "wall": wall + once[0] / EPOCHS,
        "cpu": cpu + once[1] / EPOCHS,
        "peak": peak_memory_bytes() or 0,
        "model": alone,
    }


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Measure the wall and CPU seconds that the work takes."""
    start, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - used


def step_of(student: Student) -> Callable[[int], object]:
    """Make one update on the first rows, by the product's own loop."""
    return lambda rows: student.step(list(range(rows)), 1e-4)


def plain_step(peft: PeftModel, samples: Sequence[ForcedAnswer]) -> Callable[[int], object]:
    """Make one update in the plainest way, with PEFT's own LoRA."""
    for module in peft.modules():
        module.__dict__.pop("forward", None)  # what `fuse_maps` has put there
    params = [p for p in peft.parameters() if p.requires_grad]
    adam = torch.optim.AdamW(params, lr=1e-4)

    def logits_of(sample: ForcedAnswer, prompt: tuple[int, ...]) -> torch.Tensor:
        ids = torch.tensor([[*prompt, *sample.answer]], device=peft.device)
        logits: torch.Tensor = peft(input_ids=ids).logits[0, len(prompt) - 1 :]
        return logits / HEAT

    def step(rows: int) -> None:
        total = sum(s.positions for s in samples[:rows])
        for sample in samples[:rows]:
            with torch.no_grad(), peft.disable_adapter():
                teacher = logits_of(sample, sample.teacher).log_softmax(-1)
            student = logits_of(sample, sample.student).log_softmax(-1)
            loss = functional.kl_div(student, teacher, log_target=True, reduction="sum")
            (loss * HEAT**2 / total).backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        adam.step()
        adam.zero_grad()

    return step


if __name__ == "__main__":
    main()
