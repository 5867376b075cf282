"""What holds on a GPU too: `pytest -m gpu`.

`PRISM_TEST_DEVICE=cpu` runs the same tests on the processor, to try the tests themselves.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from benchmarks.support.random_models import (
    modes,
    random_gated,
    random_model,
    random_prompts,
    randomise,
)
from prism_core.inference.padding import pad_left
from prism_core.lora.training import lora_tensors, save_lora, trainable_lora
from prism_core.lora.weights import LoraWeights
from prism_core.models.chat import encode_prompt
from prism_core.models.local import LocalModel
from prism_core.models.weights import choose_device, choose_dtype
from prism_core.prism.distillation.report import DistillConfig
from prism_core.prism.distillation.student import Student
from prism_core.prism.distillation.teacher import TeacherSpec, cache_teacher_logits, load_teacher
from prism_core.prism.distillation.teacher_forcing import ForcedAnswer
from prism_core.types import Completion, Sampling

pytestmark = pytest.mark.gpu
GREEDY = Sampling(max_new_tokens=16, temperature=0.0)
DRAWN = Sampling(max_new_tokens=16, temperature=0.8, top_p=0.9)
ROWS = 8


@pytest.fixture(scope="module")
def device() -> torch.device:
    name = os.environ.get("PRISM_TEST_DEVICE", "cuda")
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    return torch.device(name)


@pytest.fixture(scope="module")
def exact(device: torch.device) -> LocalModel:
    """A tiny model in fp32, whose matrix products are not rounded to TF32."""
    torch.backends.cuda.matmul.allow_tf32 = False
    return random_model("tiny", device, torch.float32)


@pytest.fixture(scope="module")
def rounded(device: torch.device) -> LocalModel:
    """The same model in the number format of a GPU."""
    return random_model("tiny", device, torch.bfloat16)


def texts(answers: Sequence[Completion]) -> list[str]:
    return [answer.text for answer in answers]


def test_a_gpu_is_found_and_gets_bf16(device: torch.device) -> None:
    if device.type != "cuda":
        pytest.skip("only a GPU can be found")
    assert choose_device().type == "cuda"
    assert choose_dtype(device) == torch.bfloat16


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN])
def test_rows_do_not_depend_on_their_batch(exact: LocalModel, sampling: Sampling) -> None:
    prompts = random_prompts(exact, ROWS, 24)
    together = exact.generate(prompts, sampling, range(ROWS))
    alone = [exact.generate([one], sampling, seed)[0] for seed, one in enumerate(prompts)]
    assert texts(together) == texts(alone)
    assert len(set(texts(together))) == ROWS


def test_greedy_answers_are_those_of_the_library(exact: LocalModel) -> None:
    prompts = random_prompts(exact, ROWS, 24)
    rows = [encode_prompt(exact.tokenizer, prompt) for prompt in prompts]
    ids, mask = pad_left(rows, exact.model.device)
    out = exact.model.generate(
        input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=16
    )
    theirs = exact.tokenizer.batch_decode(out[:, ids.shape[1] :], skip_special_tokens=True)
    # What follows the end of an answer is the library's business.
    ours = texts(exact.generate(prompts, GREEDY))
    assert all(a.startswith(b) for a, b in zip(theirs, ours, strict=True))
    assert all(ours)


def test_a_closed_gate_is_the_base_to_the_bit(rounded: LocalModel, tmp_path: Path) -> None:
    gated, prompts = random_gated(rounded, tmp_path), random_prompts(rounded, ROWS, 24)
    base = texts(rounded.generate(prompts, DRAWN, range(ROWS)))
    assert texts(gated.generate(prompts, DRAWN, range(ROWS), gates="closed")) == base
    opened = texts(gated.generate(prompts, DRAWN, range(ROWS), gates="open"))
    assert all(a != b for a, b in zip(opened, base, strict=True))


def test_open_rows_do_not_touch_closed_ones(exact: LocalModel, tmp_path: Path) -> None:
    gated, prompts = random_gated(exact, tmp_path), random_prompts(exact, ROWS, 24)
    mixed = texts(gated.generate(prompts, GREEDY, gates=modes(ROWS)["every second"]))
    assert mixed[::2] == texts(exact.generate(prompts, GREEDY))[::2]
    assert mixed[1::2] == texts(gated.generate(prompts, GREEDY, gates="open"))[1::2]


@pytest.mark.parametrize(("model", "most"), [("exact", 1e-4), ("rounded", 0.25)])
def test_an_open_gate_is_peft(
    model: str, most: float, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    base: LocalModel = request.getfixturevalue(model)
    rows = [encode_prompt(base.tokenizer, p) for p in random_prompts(base, ROWS, 24)]
    ids, mask = pad_left(rows, base.model.device)
    inputs = {"input_ids": ids, "attention_mask": mask}
    with torch.no_grad():
        plain = base.model(**inputs).logits.float()
        with trainable_lora(base.model, 4, 8, seed=0) as peft:
            randomise(peft, 0.1)
            save_lora(peft, tmp_path, base.name, "float32")
            theirs = peft(**inputs).logits.float()
        with LoraWeights.load(tmp_path, base.model).active(base.model):
            ours = base.model(**inputs).logits.float()
    read = mask.bool()
    effect = (theirs - plain)[read].std()
    assert (ours - theirs)[read].std() <= most * effect


def test_a_batched_step_is_the_single_steps(exact: LocalModel, tmp_path: Path) -> None:
    samples = [
        ForcedAnswer(str(i), (7, 8, *row), tuple(row), tuple(range(20, 26 + i)), 1)
        for i, row in enumerate([[3, 4, 5], [6, 7], [8, 9, 10, 11]])
    ]
    spec = TeacherSpec(16, 2.0)
    cache_teacher_logits(samples, exact, spec, tmp_path)
    teacher = load_teacher(samples, exact, spec, tmp_path)
    accelerator = Accelerator(cpu=exact.model.device.type == "cpu")
    found = []
    for tokens in (1, 1_024):
        with trainable_lora(exact.model, 4, 8, seed=0) as peft:
            config = DistillConfig(micro_tokens=tokens, weight_decay=0.0)
            student = Student(exact.model, peft, samples, teacher, config, accelerator)
            losses = [student.step([0, 1, 2], 1e-2) for _ in range(3)]
            found.append((losses, {n: t.clone() for n, t in lora_tensors(peft).items()}))
    (single, one), (batched, other) = found
    assert batched == pytest.approx(single, rel=1e-4)
    assert batched[-1] < batched[0]
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], atol=1e-4, rtol=1e-3)


def test_a_cancel_is_obeyed(exact: LocalModel) -> None:
    cancel = threading.Event()
    sampling = Sampling(max_new_tokens=4_000, temperature=0.8)
    stream = exact.stream(random_prompts(exact, 2, 24), sampling, 0, cancel=cancel)
    next(stream)
    cancel.set()
    began = time.perf_counter()
    answers = list(stream)[-1]
    assert time.perf_counter() - began < 2
    assert {answer.finish for answer in answers} == {"cancelled"}
