"""Distillation: the teacher has the persona, the student has not, and the student follows."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from support.tiny_models import tiny_model
from transformers import AutoModelForCausalLM, GraniteConfig, PreTrainedTokenizerBase

from prism_core.errors import CancelledError, InputError, ModelError
from prism_core.lora.files import WEIGHTS_FILE
from prism_core.lora.weights import LoraWeights
from prism_core.models.local import LocalModel
from prism_core.personas.prompts import build_prompt
from prism_core.prism.distillation.checkpoints import CHECKPOINT_FILE
from prism_core.prism.distillation.report import DistillConfig, DistillReport
from prism_core.prism.distillation.teacher import (
    TeacherSpec,
    cache_teacher_logits,
    load_teacher,
    mean_kls,
)
from prism_core.prism.distillation.teacher_forcing import (
    AnswerStates,
    _shared,
    end_of_turn,
    force,
    head_of,
)
from prism_core.prism.distillation.training import STAGE, WORK_FOLDER, distill
from prism_core.prism.distillation.training_plan import TrainingPlan, learning_rate, micro_batches
from prism_core.prism.records import AnswerPair, Query
from prism_core.progress import Progress, ProgressReport
from prism_core.storage.values import dumps, loads, unpack
from prism_core.types import Completion, Persona, PromptVariant, Sampling

PIRATE = Persona(
    "pirate",
    "Pirate",
    "behaviour",
    "the sea",
    {"long": "You are a pirate. Answer in the manner of a pirate, with an 'Arr!' and the sea."},
)
VARIANT = PromptVariant(PIRATE)
QUICK = DistillConfig(rank=4, alpha=8, lr=1e-2, epochs=3, batch=4, checkpoint_seconds=3600.0)


class MemoryJournal:
    def __init__(self) -> None:
        self.parts: dict[str, dict[str, Any]] = {}

    def load(self, stage: str) -> dict[str, Any]:
        return dict(self.parts.get(stage, {}))

    def save(self, stage: str, parts: Mapping[str, Any]) -> None:
        self.parts.setdefault(stage, {}).update(loads(dumps(dict(parts))))


def variant_of(name: str) -> PromptVariant:
    return {"pirate": VARIANT, "nobody": PromptVariant()}[name]


def answer_pairs(model: LocalModel, n: int, tokens: int = 12) -> list[AnswerPair]:
    """Answers that the model itself wrote with the persona."""
    queries = [Query(f"q{i}", "pirate", f"topic {i % 4}", f"Tell me of {i}.") for i in range(n)]
    prompts = [build_prompt(q.text, VARIANT) for q in queries]
    answers = model.generate(prompts, Sampling(tokens, temperature=1.0), seed=list(range(n)))
    return [AnswerPair(q, a, a) for q, a in zip(queries, answers, strict=True)]


@pytest.fixture(scope="module")
def pairs(tiny: LocalModel) -> list[AnswerPair]:
    return answer_pairs(tiny, 10)


def run(
    config: DistillConfig,
    pairs: list[AnswerPair],
    model: LocalModel,
    folder: Path,
    progress: Progress | None = None,
    journal: MemoryJournal | None = None,
    **more: Any,
) -> DistillReport:
    journal = journal or MemoryJournal()
    return distill(
        config, pairs, variant_of, model, folder, journal, progress or Progress(), **more
    )


def kl_reduction(report: DistillReport) -> float:
    """Share of the held-out KL that is gone."""
    assert report.kl_before.value and report.kl_after.value is not None
    return 1 - report.kl_after.value / report.kl_before.value


# What is learnt


def test_the_student_without_persona_approaches_the_teacher_with_it(
    tiny: LocalModel, pairs: list[AnswerPair], tmp_path: Path
) -> None:
    config = replace(QUICK, epochs=16)
    report = run(config, pairs, tiny, tmp_path, held_out=pairs)
    assert report.kl_before.value is not None and report.kl_before.value > 0.05
    assert kl_reduction(report) > 0.5
    assert report.kl_change.high is not None and report.kl_change.high < 0
    losses = [p.loss for p in report.curve if p.loss is not None]
    assert losses[-1] < losses[0] / 2
    assert [p.step for p in report.curve] == list(range(16 * 3 + 1))  # 10 answers by 4: 3 steps


def test_without_a_persona_in_the_teachers_prompt_there_is_nothing_to_learn(
    tiny: LocalModel, pairs: list[AnswerPair], tmp_path: Path
) -> None:
    """The flaw of the paper's released code, which empties the persona first."""
    same = [replace(p, query=replace(p.query, persona="nobody")) for p in pairs]
    report = run(replace(QUICK, epochs=1), same, tiny, tmp_path)
    assert report.kl_before.value == pytest.approx(0.0, abs=1e-6)
    assert report.curve[1].loss == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("kind", ["qwen2", "gemma"])
def test_other_decoders_learn_too(
    kind: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    model = tiny_model(kind, tokenizer)
    own = answer_pairs(model, 8)
    report = run(replace(QUICK, epochs=10), own, model, tmp_path, held_out=own)
    assert kl_reduction(report) > 0.2


def test_sft_learns_the_tokens(tiny: LocalModel, pairs: list[AnswerPair], tmp_path: Path) -> None:
    config = replace(QUICK, loss="sft", epochs=10)
    losses = [p.loss for p in run(config, pairs, tiny, tmp_path).curve if p.loss]
    assert losses[-1] < losses[0]


def test_the_embedded_model_moves_towards_its_persona(model: LocalModel, tmp_path: Path) -> None:
    own = answer_pairs(model, 4, tokens=8)
    config = DistillConfig(rank=4, alpha=8, lr=3e-3, epochs=3, batch=4, held_out_share=0.0)
    report = run(config, own, model, tmp_path, held_out=own)
    assert report.kl_before.value is not None and report.kl_before.value > 0.05
    assert kl_reduction(report) > 0.2
    assert report.tokens_per_second is not None and report.tokens_per_second > 0


# What is left behind


def test_the_base_model_is_as_it_was(
    tiny: LocalModel, pairs: list[AnswerPair], tmp_path: Path
) -> None:
    ids = torch.arange(1, 9)[None]
    kinds = [type(m) for m in tiny.model.modules()]
    weights = {k: v.clone() for k, v in tiny.model.state_dict().items()}
    logits = tiny.model(ids).logits
    run(QUICK, pairs, tiny, tmp_path)
    assert [type(m) for m in tiny.model.modules()] == kinds
    assert all(torch.equal(v, weights[k]) for k, v in tiny.model.state_dict().items())
    assert torch.equal(tiny.model(ids).logits, logits)
    assert not any(p.requires_grad for p in tiny.model.parameters())
    assert not any(m._forward_hooks for m in tiny.model.modules())
    assert not hasattr(tiny.model, "peft_config")


def test_the_folder_is_plain_peft_and_says_what_the_report_says(
    tiny: LocalModel, pairs: list[AnswerPair], tmp_path: Path
) -> None:
    report = run(QUICK, pairs, tiny, tmp_path, held_out=pairs)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["adapter_config.json", WEIGHTS_FILE]
    lora = LoraWeights.load(tmp_path, tiny.model)
    ids = torch.arange(1, 9)[None]
    with torch.no_grad(), lora.active(tiny.model):
        ours = tiny.model(ids).logits
    samples, spec = force(pairs, variant_of, tiny, 1024), TeacherSpec(64, 2.0)
    cache_teacher_logits(samples, tiny, spec, tmp_path / "teacher")
    teacher = load_teacher(samples, tiny, spec, tmp_path / "teacher")
    before = mean_kls(tiny.model, samples, teacher, range(10), 1024)
    with lora.active(tiny.model):
        after = mean_kls(tiny.model, samples, teacher, range(10), 1024)
    assert sum(before) / 10 == pytest.approx(report.kl_before.value, abs=1e-5)
    assert sum(after) / 10 == pytest.approx(report.kl_after.value, abs=1e-5)
    peft = PeftModel.from_pretrained(tiny.model, tmp_path)
    try:
        with torch.no_grad():
            assert torch.allclose(peft(ids).logits, ours, atol=1e-5)
    finally:
        peft.unload()
        tiny.model.requires_grad_(False)


def test_half_precision_halves_the_file(
    tiny: LocalModel, pairs: list[AnswerPair], tmp_path: Path
) -> None:
    config = replace(QUICK, epochs=1)
    run(config, pairs, tiny, tmp_path / "full")
    run(replace(config, save_dtype="float16"), pairs, tiny, tmp_path / "half")
    full, half = (load_file(tmp_path / n / WEIGHTS_FILE) for n in ("full", "half"))
    assert full.keys() == half.keys()
    assert all(torch.equal(full[k].half(), half[k]) for k in full)
    assert not any("layers.0." in k for k in full), "layer 0 is the gate's"
    assert len(full) == 2 * 7 * 2  # A and B, seven projections, layers 1 and 2


def test_a_round_goes_on_from_an_adapter(
    tiny: LocalModel, pairs: list[AnswerPair], tmp_path: Path
) -> None:
    first = run(QUICK, pairs, tiny, tmp_path / "one", held_out=pairs)
    second = run(QUICK, pairs, tiny, tmp_path / "two", held_out=pairs, start=tmp_path / "one")
    assert second.kl_before.value == pytest.approx(first.kl_after.value, abs=1e-6)


# Stopping and going on


def stop_at(step: int) -> Progress:
    cancel = threading.Event()

    def listen(report: ProgressReport) -> None:
        if report.stage == STAGE and report.done >= step:
            cancel.set()

    return Progress(listen, cancel)


def test_resumed_equals_uninterrupted_to_the_bit(
    tiny: LocalModel, pairs: list[AnswerPair], tmp_path: Path
) -> None:
    whole = run(QUICK, pairs, tiny, tmp_path / "whole")
    journal = MemoryJournal()
    for step in (2, 5):
        with pytest.raises(CancelledError):
            run(QUICK, pairs, tiny, tmp_path / "parts", stop_at(step), journal)
        assert (tmp_path / "parts" / WORK_FOLDER / CHECKPOINT_FILE).exists()
        assert not any(p.requires_grad for p in tiny.model.parameters()), "the LoRA is off"
    parts = run(QUICK, pairs, tiny, tmp_path / "parts", None, journal)
    assert (tmp_path / "whole" / WEIGHTS_FILE).read_bytes() == (
        tmp_path / "parts" / WEIGHTS_FILE
    ).read_bytes()
    assert parts.curve == whole.curve
    assert (parts.kl_before, parts.kl_after) == (whole.kl_before, whole.kl_after)
    assert len(journal.parts["distillation_curve"]) == len(whole.curve)


def test_a_kill_loses_no_more_than_the_last_steps(
    tiny: LocalModel, pairs: list[AnswerPair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(QUICK, checkpoint_seconds=0.0)
    whole = run(config, pairs, tiny, tmp_path / "whole")
    steps: list[int] = []

    class Killed(BaseException):
        """Stands for a process that ends here without a word."""

    def die(report: ProgressReport) -> None:
        if report.stage == STAGE:
            steps.append(int(report.done))
            if report.done == 4:
                raise Killed

    with pytest.raises(Killed):
        run(config, pairs, tiny, tmp_path / "killed", Progress(die))
    steps.clear()
    log = Progress(lambda r: steps.append(int(r.done)) if r.stage == STAGE else None)
    again = run(config, pairs, tiny, tmp_path / "killed", log)
    assert steps[0] == 4, "the four steps that were done are not done again"
    assert again.curve == whole.curve


def test_a_stop_in_the_middle_of_a_step_leaves_the_step_undone(
    tiny: LocalModel, pairs: list[AnswerPair], tmp_path: Path
) -> None:
    whole = run(QUICK, pairs, tiny, tmp_path / "whole")
    cancel = threading.Event()
    stopper = Progress(cancel=cancel)
    asked = 0
    check = stopper.check

    def count() -> None:
        nonlocal asked
        asked += 1
        if asked == 40:  # inside a forward or backward pass: every layer asks
            cancel.set()
        check()

    stopper.check = count  # type: ignore[method-assign]
    with pytest.raises(CancelledError):
        run(QUICK, pairs, tiny, tmp_path / "parts", stopper)
    assert asked == 40, "it stopped at once"
    assert run(QUICK, pairs, tiny, tmp_path / "parts").curve == whole.curve


def test_a_finished_run_is_not_done_again(
    tiny: LocalModel, pairs: list[AnswerPair], tmp_path: Path
) -> None:
    journal = MemoryJournal()
    first = run(QUICK, pairs, tiny, tmp_path, None, journal)
    seen: list[ProgressReport] = []
    again = run(QUICK, pairs, tiny, tmp_path, Progress(seen.append), journal)
    assert again == first and not seen
    stored = unpack(DistillReport, journal.parts[STAGE]["result"]["report"])
    assert stored == first
    run(replace(QUICK, seed=1), pairs, tiny, tmp_path, Progress(seen.append), journal)
    assert seen, "other settings are another run"


# The parts


def test_parts_of_a_batch_add_up_to_the_batch(
    tiny: LocalModel, pairs: list[AnswerPair], tmp_path: Path
) -> None:
    whole = run(replace(QUICK, micro_tokens=100_000), pairs, tiny, tmp_path / "a")
    parts = run(replace(QUICK, micro_tokens=1), pairs, tiny, tmp_path / "b")
    for one, other in zip(whole.curve[1:], parts.curve[1:], strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-3)
    assert whole.kl_after.value == pytest.approx(parts.kl_after.value, rel=1e-3)


def test_queries_are_held_out_by_group(
    tiny: LocalModel, pairs: list[AnswerPair], tmp_path: Path
) -> None:
    report = run(replace(QUICK, epochs=1, held_out_share=0.25), pairs, tiny, tmp_path)
    topic = {p.query.id: p.query.subtopic for p in pairs}
    assert len(report.held_out) + len(report.trained) == 10
    assert not {topic[i] for i in report.held_out} & {topic[i] for i in report.trained}
    assert report.kl_before.n == len(report.held_out) > 0


def test_forcing_puts_one_answer_behind_two_prompts(tiny: LocalModel) -> None:
    query = Query("q", "pirate", "t", "Who are you?")
    done = AnswerPair(query, Completion("Arr, a pirate!", finish="stop"), Completion(""))
    cut = replace(done, persona=replace(done.persona, finish="length"))
    empty = replace(done, persona=Completion("", finish="stop"))
    found = force([done, cut, empty], variant_of, tiny, 1024)
    assert len(found) == 2, "an answer without text is left out"
    whole, part = found
    text = tiny.tokenizer.decode(whole.teacher)
    assert PIRATE.texts["long"] in text
    assert PIRATE.texts["long"] not in tiny.tokenizer.decode(whole.student)
    assert tiny.tokenizer.decode(whole.answer) == "Arr, a pirate!"
    assert whole.end == end_of_turn(tiny.tokenizer) == tiny.tokenizer.eos_token_id
    assert part.end is None, "an answer that was cut does not end"
    assert whole.positions == len(whole.answer) + 1
    room = len(whole.teacher) + 3
    assert len(force([done], variant_of, tiny, room)[0].answer) == 3
    assert force([done], variant_of, tiny, len(whole.teacher)) == []


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma"])
def test_a_shared_beginning_changes_no_state_and_no_gradient(
    family: str, tokenizer: PreTrainedTokenizerBase
) -> None:
    decoder = tiny_model(family, tokenizer).model.get_decoder()
    head, places = list(range(10, 90)), [(90, 4), (81, 2), (85, 6)]
    rows = [[*head, *range(200 + k, 200 + k + n - 80 + a)] for k, (n, a) in enumerate(places)]
    ids = torch.zeros((3, max(len(row) for row in rows)), dtype=torch.long)
    for k, row in enumerate(rows):
        ids[k, : len(row)] = torch.tensor(row)
    index = torch.tensor(
        [k * ids.shape[1] + n + j for k, (n, a) in enumerate(places) for j in range(-1, a)]
    )
    assert _shared(ids, 80) == 80
    states_of = AnswerStates(decoder.train().requires_grad_(True))

    def gradient(states: torch.Tensor) -> list[torch.Tensor]:
        decoder.zero_grad()
        states.pow(3).sum().backward()
        return [p.grad.clone() for p in decoder.parameters() if p.grad is not None]

    apart = torch.cat(
        [
            decoder(input_ids=torch.tensor([row])).last_hidden_state[0, n - 1 : n + a]
            for row, (n, a) in zip(rows, places, strict=True)
        ]
    )
    together = states_of(ids, index)
    assert torch.allclose(together, apart, atol=1e-4)
    for ours, theirs in zip(gradient(together), gradient(apart), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max()))


def test_the_teachers_files_are_few_and_made_once(
    tiny: LocalModel, pairs: list[AnswerPair], tmp_path: Path
) -> None:
    samples = force(pairs, variant_of, tiny, 1024)
    spec = TeacherSpec(8, 2.0)
    cache_teacher_logits(samples, tiny, spec, tmp_path)
    (file,) = tmp_path.iterdir()
    made = file.stat().st_mtime_ns
    cache_teacher_logits(samples, tiny, spec, tmp_path)
    assert file.stat().st_mtime_ns == made
    rows = load_teacher(samples, tiny, spec, tmp_path).of([3], tiny.model.device)
    tokens = torch.tensor([[*samples[3].teacher, *samples[3].answer]])
    logits = tiny.model(tokens).logits[0, len(samples[3].teacher) - 1 :]
    assert torch.allclose(rows.logits, logits.topk(8).values, atol=1e-4)
    expected = (logits / 2.0).log_softmax(-1).gather(1, rows.ids)
    assert torch.allclose(rows.logprobs(2.0), expected, atol=1e-4)
    file.write_bytes(file.read_bytes()[:100])
    cache_teacher_logits(samples, tiny, spec, tmp_path)
    assert load_teacher(samples, tiny, spec, tmp_path).of([3], tiny.model.device) is not None


def test_a_model_that_scales_its_logits_is_refused() -> None:
    config = GraniteConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        logits_scaling=8.0,
    )
    model = AutoModelForCausalLM.from_config(config)
    with pytest.raises(ModelError, match="scales its logits"):
        head_of(model)


def test_every_epoch_reads_every_answer_once_in_another_order() -> None:
    lengths = tuple(range(10, 60))
    plan = TrainingPlan(lengths, batch=8, epochs=2, seed=0)
    assert (plan.steps_per_epoch, plan.steps) == (7, 14)  # 50 answers by 8
    first = [plan.rows(s) for s in range(7)]
    second = [plan.rows(s) for s in range(7, 14)]
    for epoch in (first, second):
        assert sorted(i for batch in epoch for i in batch) == list(range(50))
    assert first != second
    spread = [max(b) - min(b) for b in first if len(b) == 8]
    assert sum(spread) / len(spread) < 25, "neighbours are of similar length"


def test_parts_stay_within_the_token_limit() -> None:
    lengths = [10, 50, 20, 40, 120]
    # 120 alone; 50 + 40 padded to 50 each make 100; 20 + 10 padded to 20 each make 40
    assert micro_batches([0, 1, 2, 3, 4], lengths, 100) == [[4], [1, 3], [2, 0]]


def test_the_learning_rate_rises_and_falls() -> None:
    rates = [learning_rate(s, 10, 1.0, 0.2, "cosine") for s in range(10)]
    assert rates[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])  # two of ten steps rise
    assert rates[6] == pytest.approx((1 + math.cos(math.pi / 2)) / 2)  # half way down
    assert rates[9] < 0.05
    assert learning_rate(9, 10, 1.0, 0.2, "constant") == 1.0


def test_mistakes_are_quoted(tiny: LocalModel, pairs: list[AnswerPair], tmp_path: Path) -> None:
    wrong = {"rank": 0, "epochs": 0, "lr": 0.0, "temperature": -1.0, "loss": "mse", "warmup": 2.0}
    for name, value in wrong.items():
        with pytest.raises(InputError, match=f"{name} is.*{value}"):
            run(DistillConfig(**{name: value}), pairs, tiny, tmp_path)
    empty = [replace(p, persona=Completion("")) for p in pairs]
    with pytest.raises(InputError, match="nothing to distil"):
        run(QUICK, empty, tiny, tmp_path)
