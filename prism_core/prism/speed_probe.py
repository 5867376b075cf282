"""Measure how fast a loaded model is on this machine, in about ten seconds.

Three short pieces of the real work: decoding a full batch, reading a prompt, and one step of
distillation with its teacher. Decoding and training begin with an untimed part, since a first call
pays for memory and threads. The model is as before afterwards.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch
from accelerate import Accelerator

from prism_core.errors import InputError, ModelError
from prism_core.lora.training import trainable_lora
from prism_core.lora.weights import decoder_layers
from prism_core.models.chat import encode_text
from prism_core.models.local import LocalModel, cache_bytes_per_token
from prism_core.prism.distillation.report import DistillConfig
from prism_core.prism.distillation.student import Student
from prism_core.prism.distillation.teacher import TeacherSpec, cache_teacher_logits, load_teacher
from prism_core.prism.distillation.teacher_forcing import ForcedAnswer, end_of_turn
from prism_core.prism.forecast import MICRO_TOKENS, SpeedProbe
from prism_core.progress import Progress
from prism_core.types import Message, Sampling

STAGE = "probe"
_DECODE_SECONDS = 2.0
_ROWS = 48
_READ_TOKENS = 250
_TRAIN_ROWS, _PROMPT_TOKENS, _ANSWER_TOKENS = 3, 48, 64
_SAMPLE_SECONDS = 0.01


def probe_speed(
    model: LocalModel, *, rows: int = _ROWS, progress: Progress | None = None
) -> SpeedProbe:
    """Measure a loaded model.

    Visitors who use the model wait for the training step alone. `rows` are the answers that the run
    will decode together; the progress's cancel event stops between the three pieces.

    Raises:
        InputError: `rows` is not from 1 to 128.
        ModelError: the model lacks the projections that a LoRA is put on.
        CancelledError: stopped on request.
    """
    if not 1 <= rows <= 128:
        raise InputError(f"rows is {rows}; it must be from 1 to 128.")
    progress, began = progress or Progress(), time.perf_counter()
    resident = _memory_now(model)
    progress.update(STAGE, 0, 3, "writing answers")
    decode_rate = _decode_rate(model, rows)
    progress.check()
    progress.update(STAGE, 1, 3, "reading prompts")
    read_rate = _read_rate(model)
    progress.check()
    progress.update(STAGE, 2, 3, "taking a training step")
    train_rate, train_bytes = _train_rate(model)
    progress.update(STAGE, 3, 3, "measured")
    return SpeedProbe(
        model=model.name,
        fingerprint=model.fingerprint,
        rows=rows,
        decode_rate=decode_rate,
        read_rate=read_rate,
        train_rate=train_rate,
        resident_bytes=resident,
        cell_bytes=cache_bytes_per_token(model.model),
        train_bytes=train_bytes,
        seconds=time.perf_counter() - began,
    )


def _decode_rate(model: LocalModel, rows: int) -> float:
    """Measure the tokens a second of a sampled batch, the prefill left aside."""
    prompts = [(Message("user", f"Tell me a story about the number {i}."),) for i in range(rows)]
    cancel = threading.Event()
    sampling = Sampling(max_new_tokens=64, temperature=0.8, top_p=0.95)
    first: tuple[float, int] | None = None
    tokens, now = 0, 0.0
    for answers in model.stream(prompts, sampling, 0, cancel=cancel):
        now, tokens = time.perf_counter(), sum(a.tokens for a in answers)
        first = first or (now, tokens)
        if now - first[0] >= _DECODE_SECONDS:
            cancel.set()
    if first is None or tokens == first[1]:
        raise ModelError(f"The model '{model.name}' wrote nothing, so its speed is not known.")
    return (tokens - first[1]) / (now - first[0])


def _read_rate(model: LocalModel) -> float:
    """Measure the prompt tokens a second where two labels are scored, as a judge does."""
    room = min(_READ_TOKENS, model.context_tokens - 40)
    text = "Which of these two is better? "
    text *= max(1, room // max(1, model.count_tokens(text)))
    prompt, choices = (Message("user", text),), [("A", "B")]
    began = time.perf_counter()
    model.score_choices([prompt], choices)
    return model.count_tokens(text) / (time.perf_counter() - began)


def _train_rate(model: LocalModel) -> tuple[float, int]:
    """Measure the tokens a second of a step, and the memory it took for each token."""
    decoder_layers(model.model)  # refuses a model that cannot be gated
    answer = encode_text(model.tokenizer, "word " * _ANSWER_TOKENS)[:_ANSWER_TOKENS]
    prompt = tuple(answer[:_PROMPT_TOKENS])
    sample = ForcedAnswer("probe", prompt, prompt, tuple(answer), end_of_turn(model.tokenizer))
    samples = [sample] * _TRAIN_ROWS
    device = model.model.device
    with model.lock, tempfile.TemporaryDirectory() as folder:
        spec = TeacherSpec(64, 2.0)
        cache_teacher_logits(samples, model, spec, Path(folder))
        teacher = load_teacher(samples, model, spec, Path(folder))
        with trainable_lora(model.model, 16, 32, 0) as peft:
            settings = DistillConfig(micro_tokens=MICRO_TOKENS)
            accelerator = Accelerator(cpu=device.type == "cpu")
            student = Student(model.model, peft, samples, teacher, settings, accelerator)
            before = _memory_now(model)
            with _watched_memory(model) as memory:
                student.step(range(_TRAIN_ROWS), 1e-5)
            began = time.perf_counter()
            student.step(range(_TRAIN_ROWS), 1e-5)
            seconds = time.perf_counter() - began
    tokens = sum(student.lengths)
    return tokens / seconds, max(0, max(memory) - before) // tokens


@contextmanager
def _watched_memory(model: LocalModel) -> Iterator[list[int]]:
    """Collect samples of the memory inside a block; the GPU adds its own count of the peak."""
    is_cuda, done, samples = model.model.device.type == "cuda", threading.Event(), [0]

    def watch() -> None:
        samples.append(_memory_now(model))
        while not done.wait(_SAMPLE_SECONDS):
            samples.append(_memory_now(model))

    if is_cuda:
        torch.cuda.reset_peak_memory_stats()
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()
        if is_cuda:
            samples.append(int(torch.cuda.max_memory_allocated()))


def _memory_now(model: LocalModel) -> int:
    """Return the memory in use where the model is: the GPU's, or this process's."""
    if model.model.device.type == "cuda":
        return int(torch.cuda.memory_allocated())
    return int(psutil.Process().memory_info().rss)
