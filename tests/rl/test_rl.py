"""Reinforcement learning: what is rewarded, what is mixed, and that a run can be trusted."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.paths import SHARED_DATA
from support.tiny_models import tiny_model
from transformers import PreTrainedTokenizerBase

from prism_core.checks import Check, Grade, run_check
from prism_core.errors import CancelledError, InputError
from prism_core.lora.files import WEIGHTS_FILE
from prism_core.models.local import LocalModel
from prism_core.personas.pool import load_pool, part_of
from prism_core.prism.bundle import load_bundle, load_ungated
from prism_core.prism.bundle_files import bundle_hash, read_info
from prism_core.progress import Progress
from prism_core.rl import trainer as rl_trainer
from prism_core.rl.mixing import plan_personas
from prism_core.rl.probe import LevelRate, choose_level
from prism_core.rl.records import METRICS, ROLLOUTS
from prism_core.rl.result import load_rl_result
from prism_core.rl.run import train_rl
from prism_core.rl.spec import RL_PRESETS, RlSpec, check_rl_spec
from prism_core.rl.tasks import FAMILIES, ask, draw_items, examples_of, split_of
from prism_core.rl.trainer_hooks import CHECKPOINTS, last_checkpoint
from prism_core.scorers.graders import grade
from prism_core.storage import Store, pack, unpack
from prism_core.storage.journal import MemoryJournal, StoreJournal
from prism_core.types import Estimate, Message, Sampling
from prism_core.worker.process import _call_handler

GENERATED = [
    (f.name, level) for f in FAMILIES.values() if f.generated for level in range(len(f.levels))
]
TINY = RlSpec(
    arm="permix",
    level=0,
    steps=4,
    prompts=2,
    rollouts=2,
    answer_tokens=6,
    temperature=1.0,
    learning_rate=1e-2,
    rank=2,
    first_layer=1,
    held_out=8,
    repeats=1,
    save_every=2,
)


@pytest.fixture
def tiny(tokenizer: PreTrainedTokenizerBase) -> LocalModel:
    return tiny_model("llama", tokenizer)


@pytest.fixture
def even(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reward that a random model can earn: an even number of letters."""

    def parity(_item: object, text: str) -> Grade:
        ok = len(text) % 2 == 0
        return Grade(float(ok), ok, "even" if ok else "odd")

    monkeypatch.setattr(rl_trainer, "grade", parity)


# --- tasks and verifiers ---------------------------------------------------------------------


@pytest.mark.parametrize(("name", "level"), GENERATED)
def test_gold_answers_pass_and_nothing_crosses_the_split(name: str, level: int) -> None:
    family = FAMILIES[name]
    train = draw_items(family, level, "train", 40, seed=0)
    held = draw_items(family, level, "held_out", 40, seed=1)
    assert len(train) == 40
    assert all(grade(item, item.reference).passed for item in (*train, *held))
    assert all(grade(item, "").passed is False for item in train)
    shown = {m.content for m in examples_of(family, level) if m.role == "user"}
    asked = {i.question for i in train}, {i.question for i in held}
    assert not asked[0] & asked[1] and not shown & (asked[0] | asked[1])
    assert shown and {split_of(q) for q in shown} == {"example"}


@pytest.mark.parametrize("name", ["letters", "sums", "products"])
def test_our_verifier_agrees_with_reasoning_gym_on_its_own_answers(name: str) -> None:
    from reasoning_gym import create_dataset

    family = FAMILIES[name]
    data = create_dataset(family.source, seed=5, size=20)
    for entry in data:
        assert data.score_answer(entry["answer"], entry) == 1.0
        check = Check("number", {"answer": entry["answer"]})
        assert run_check(check, entry["answer"]).passed


def test_examples_of_a_family_do_not_all_have_one_answer() -> None:
    for name, level in GENERATED:
        told = [m.content for m in examples_of(FAMILIES[name], level) if m.role == "assistant"]
        assert len(set(told)) == len(told) == FAMILIES[name].examples


@pytest.mark.parametrize(
    ("text", "passed"),
    [
        ("12", True),
        ("The answer is 12.", True),
        ("12 is what I had, but the answer is 13", False),  # the right number in the wrong place
        ("First 12, then 13", False),  # the last number counts
        ("12 or 13", False),  # offering both is no answer
        ("120", False),
        ("-12", False),
        ("1 2", False),
        ("", False),
        (" \n\t ", False),
        ("\u0661\u0662", True),  # Arabic-Indic digits spell 12 too
        ("\uff11\uff12", True),  # full-width digits
        ("\u00b9\u00b2", False),  # superscripts are no decimal digits
        ("twelve", True),
        ("9" * 500_000, False),
        ("x" * 500_000 + " 12", True),  # very long, but it ends with the answer
        ("12 " + "13 " * 50_000, False),
    ],
)
def test_numbers_cannot_be_won_by_tricks(text: str, passed: bool) -> None:
    item = replace(
        draw_items(FAMILIES["sums"], 0, "train", 1, 0)[0], check=Check("number", {"answer": "12"})
    )
    began = time.monotonic()
    assert bool(grade(item, text).passed) is passed
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("text", "passed"),
    [
        ("Nader", True),
        ("nader.", True),
        ("It was Nader who did", True),
        ("Nader or Albert", False),  # the last one named counts
        ("Albert, not Nader? No: Albert", False),
        ("Nadersson", False),
        ("Albert", False),
        ("", False),
    ],
)
def test_names_cannot_be_won_by_tricks(text: str, passed: bool) -> None:
    item = replace(
        draw_items(FAMILIES["needle"], 0, "train", 1, 0)[0],
        check=Check("label", {"allowed": ["Albert", "Nader"], "answer": "Nader"}),
    )
    assert bool(grade(item, text).passed) is passed


def test_a_persona_is_the_system_turn_before_the_examples() -> None:
    item = draw_items(FAMILIES["sums"], 0, "train", 1, 0)[0]
    examples = (Message("user", "1 + 1 ="), Message("assistant", "2"))
    assert ask(item, examples) == (*examples, Message("user", item.question))
    assert ask(item, examples, "You are a pirate.")[0] == Message("system", "You are a pirate.")


# --- probe, mixer, spec ----------------------------------------------------------------------


def rate(level: int, value: float) -> LevelRate:
    return LevelRate(level, f"level {level}", Estimate(value, None, None, 20))


def test_the_probe_takes_the_level_nearest_to_forty_per_cent() -> None:
    # |0.3 - 0.4| < |0.55 - 0.4|; 0.9 is outside the band.
    assert choose_level([rate(0, 0.9), rate(1, 0.55), rate(2, 0.3)]).level == 2
    assert choose_level([rate(0, 0.95), rate(1, 0.1)]).level == 1  # none fits: the nearest
    assert not choose_level([rate(0, 0.95), rate(1, 0.1)]).is_fit


def test_the_mixer_keeps_its_share_and_never_shows_a_held_out_persona() -> None:
    pool = part_of(load_pool(), "train")
    spec = replace(RlSpec(), steps=500, prompts=4, rollouts=8, persona_share=0.7)
    plan = plan_personas(spec, pool)
    assert len(plan) == 2000 and all(len(set(group)) == 1 for group in plan)
    drawn = Counter(group[0] for group in plan)
    # 2,000 draws: the standard error of a share of 0.7 is 0.0102; of one persona's 0.7 / 6, 0.0072.
    assert abs(1 - drawn[""] / 2000 - 0.7) < 4 * 0.0102
    for persona in pool:
        assert abs(drawn[persona.name] / 2000 - 0.7 / 6) < 4 * 0.0072
    assert set(drawn) == {"", *(p.name for p in pool)}
    assert plan == plan_personas(spec, pool)
    assert plan != plan_personas(replace(spec, seed=1), pool)


def test_mixing_by_rollout_differs_inside_a_group() -> None:
    pool = part_of(load_pool(), "train")
    spec = replace(RlSpec(), steps=250, prompts=4, rollouts=8, mixing="rollout")
    plan = plan_personas(spec, pool)
    flat = [name for group in plan for name in group]
    assert abs(sum(name != "" for name in flat) / len(flat) - 0.7) < 4 * 0.0052  # n = 8,000
    assert sum(len(set(group)) > 1 for group in plan) > 990


def test_plain_rlvr_mixes_nothing_and_held_out_personas_are_refused() -> None:
    pool = load_pool()
    plan = plan_personas(replace(RlSpec(), arm="rlvr"), part_of(pool, "train"))
    assert {name for group in plan for name in group} == {""}
    with pytest.raises(InputError, match="held out"):
        plan_personas(RlSpec(), pool)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"rollouts": 1}, "rollouts is 1"),
        ({"persona_share": float("nan")}, "persona_share is nan"),
        ({"level": 9}, "level is 9"),
        ({"name": " "}, "The name"),
        ({"arm": "dpo"}, "arm is 'dpo'"),
        ({"micro_batch": 5}, "micro_batch is 5"),
    ],
)
def test_a_wrong_choice_is_quoted(change: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        check_rl_spec(replace(RlSpec(), **change))


def test_the_presets_are_allowed_and_survive_the_store() -> None:
    for spec in RL_PRESETS.values():
        assert unpack(RlSpec, json.loads(json.dumps(pack(check_rl_spec(spec))))) == spec


# --- training --------------------------------------------------------------------------------


class StopAfter(MemoryJournal):
    """Asks for a stop as soon as a step has been written down."""

    def __init__(self, step: int, progress: Progress) -> None:
        super().__init__()
        self.step, self.progress = step, progress

    def save(self, stage, parts):
        super().save(stage, parts)
        if stage == METRICS and f"{self.step:06d}" in parts:
            self.progress.cancel.set()


@pytest.mark.parametrize("arm", ["permix", "sft"])
def test_two_steps_end_with_an_adapter_that_others_can_load(
    arm: str, tiny: LocalModel, tmp_path: Path, even: None
) -> None:
    before = {k: v.clone() for k, v in tiny.model.state_dict().items()}
    journal = MemoryJournal()
    result = train_rl(replace(TINY, steps=2, arm=arm), tmp_path, journal, Progress(), tiny)
    assert result.base.n == 8 and result.gain.n == 8
    assert load_rl_result(journal) == result
    assert [s["step"] for s in journal.load(METRICS).values()] == [1, 2]
    if arm == "permix":
        rollouts = list(journal.load(ROLLOUTS).values())
        assert len(rollouts) == 2 * 4 and {r["reward"] for r in rollouts} <= {0.0, 1.0}
        assert all(s["kl"] is not None for s in list(journal.load(METRICS).values())[:1])
    # The base is as it was, forward included.
    assert "forward" not in tiny.model.__dict__ and not tiny.model.training
    after = tiny.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(v, after[k]) for k, v in before.items())
    info = read_info(tmp_path / "adapter")
    assert info.recipe == "rl" and not (tmp_path / "adapter" / "gate.safetensors").exists()
    assert "Reward gained" in info.metrics
    # The adapter has learnt, is always on, and answers the same through both doors.
    weights = load_file(tmp_path / "adapter" / WEIGHTS_FILE)
    assert max(float(v.abs().max()) for k, v in weights.items() if "lora_B" in k) > 0
    gated = load_bundle(tmp_path / "adapter", tiny)
    always = load_ungated(tmp_path / "adapter", tiny)
    # Answers that were bought before are found again.
    parts = f"{tiny.fingerprint} {bundle_hash(tmp_path / 'adapter')} always"
    assert always.fingerprint == hashlib.sha256(parts.encode()).hexdigest()[:16]
    assert always.name == gated.name
    prompts = [(Message("user", q),) for q in ("Who are you?", "What is 2 + 2?")]
    sampling = Sampling(max_new_tokens=8)
    one, other = gated.generate(prompts, sampling), always.generate(prompts, sampling)
    assert [a.text for a in one] == [a.text for a in other]
    assert all(a.gate is not None and a.gate.is_open for a in one)


@pytest.mark.parametrize("arm", ["permix", "sft"])
def test_a_real_benchmark_trains_through_the_same_grader(
    arm: str, tiny: LocalModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not SHARED_DATA.is_dir():
        pytest.skip("the benchmark files are not here")
    monkeypatch.setenv("PRISM_DATA_DIR", str(SHARED_DATA))
    journal = MemoryJournal()
    spec = replace(TINY, family="gsm8k", steps=2, arm=arm)
    result = train_rl(spec, tmp_path, journal, Progress(), tiny)
    assert result.base.n == 8
    asked = [r["question"] for r in journal.load(ROLLOUTS).values()]
    train = {item.question for item in draw_items(FAMILIES["gsm8k"], 0, "train", 400, seed=0)}
    assert set(asked) <= train and len(asked) == (8 if arm == "permix" else 0)
    assert (tmp_path / "adapter" / WEIGHTS_FILE).is_file()


@pytest.mark.parametrize("arm", ["permix", "sft"])
def test_a_resumed_run_ends_with_the_same_weights(
    arm: str, tiny: LocalModel, tmp_path: Path, even: None
) -> None:
    spec = replace(TINY, arm=arm, mixing="rollout")
    whole = train_rl(spec, tmp_path / "whole", MemoryJournal(), Progress(), tiny)
    progress = Progress()
    journal = StopAfter(3, progress)  # a checkpoint stands at step 2; step 3 is lost
    with pytest.raises(CancelledError):
        train_rl(spec, tmp_path / "parts", journal, progress, tiny)
    assert last_checkpoint(tmp_path / "parts" / CHECKPOINTS).name == "checkpoint-2"
    journal.step = -1
    parts = train_rl(spec, tmp_path / "parts", journal, Progress(), tiny)
    one, other = (load_file(tmp_path / n / "adapter" / WEIGHTS_FILE) for n in ("whole", "parts"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[k], other[k]) for k in one)
    assert parts.trained == whole.trained


def test_a_half_written_checkpoint_does_not_count(tmp_path: Path) -> None:
    for number, marked in ((2, True), (4, True), (6, False)):
        folder = tmp_path / f"checkpoint-{number}"
        folder.mkdir()
        (folder / "adapter_model.safetensors").write_bytes(b"x")
        if marked:
            (folder / "complete").touch()
    found = last_checkpoint(tmp_path)
    assert found is not None and found.name == "checkpoint-4"
    assert not (tmp_path / "checkpoint-6").exists()
    assert last_checkpoint(tmp_path / "nowhere") is None


def test_other_settings_do_not_go_on_with_a_run(tiny: LocalModel, tmp_path: Path) -> None:
    journal = MemoryJournal()
    train_rl(replace(TINY, steps=1), tmp_path, journal, Progress(), tiny)
    with pytest.raises(InputError, match="other settings"):
        train_rl(replace(TINY, steps=2), tmp_path, journal, Progress(), tiny)


def test_a_reward_that_raises_fails_the_run_and_keeps_the_checkpoint(
    tiny: LocalModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Counter()

    def breaks(item: object, text: str) -> Grade:
        asked["n"] += 1
        if asked["n"] > 3 * TINY.prompts * TINY.rollouts:  # in step 4; step 2 was saved
            raise ValueError("the verifier is out of order")
        return Grade(float(len(text) % 2), bool(len(text) % 2), "")

    def handler(run, store, progress):
        train_rl(
            unpack(RlSpec, dict(run.spec)), run.path, StoreJournal(store, run.id), progress, tiny
        )

    with Store(f"sqlite:///{tmp_path / 's.db'}", home=tmp_path) as store:
        run = store.create_run("rl", "tiny", pack(TINY))
        monkeypatch.setattr(rl_trainer, "grade", breaks)
        status, message = _call_handler(run, store, {"rl": handler}, Progress())
        assert status == "failed" and "the verifier is out of order" in message
        kept = last_checkpoint(run.path / CHECKPOINTS)
        assert kept is not None and kept.name == "checkpoint-2"
        assert "forward" not in tiny.model.__dict__  # the base can be used again
        asked["n"] = -10_000
        assert _call_handler(run, store, {"rl": handler}, Progress()) == ("done", "")
        assert len(store.get_records(run.id, METRICS)) == TINY.steps


def test_a_stop_is_obeyed_inside_a_step(tiny: LocalModel, tmp_path: Path, even: None) -> None:
    progress = Progress()
    stopped: list[float] = []

    class StopSoon(MemoryJournal):
        """Asks for a stop from another thread, somewhere within a later step."""

        def save(self, stage, parts):
            super().save(stage, parts)
            if stage == METRICS and "000002" in parts:
                threading.Timer(0.05, self.stop).start()

        def stop(self) -> None:
            stopped.append(time.monotonic())
            progress.cancel.set()

    with pytest.raises(CancelledError):
        train_rl(replace(TINY, steps=200), tmp_path, StopSoon(), progress, tiny)
    assert time.monotonic() - stopped[0] < 2
    assert "forward" not in tiny.model.__dict__
