"""One table for all systems: its arithmetic by hand, its KL against known answers, its resume."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from support.gated_parts import PEOPLE, TEXTS, judged_pairs, tiny_gated, variant_of
from support.tiny_models import tiny_model
from transformers import PreTrainedTokenizerBase

from prism_core.errors import CancelledError, InputError
from prism_core.inference.padding import pad_left
from prism_core.models.chat import encode_prompt, encode_text
from prism_core.models.local import LocalModel
from prism_core.personas.prompts import build_prompt
from prism_core.prism.ablation.answer_kl import AnswerKl, KlQuestion, full_kl
from prism_core.prism.ablation.run import compare_systems
from prism_core.prism.ablation.settings import AblationConfig, AblationInputs
from prism_core.prism.ablation.systems import System, SystemParts, build_systems
from prism_core.prism.ablation.table import COLUMNS, QueryOutcome, load_table, make_cells
from prism_core.prism.gating.gated_model import GatedModel
from prism_core.prism.records import JudgedPair
from prism_core.progress import Progress, ProgressReport
from prism_core.scorers.judges import JudgePair, ModelJudge
from prism_core.storage import pack
from prism_core.storage.journal import MemoryJournal
from prism_core.types import Completion, PromptVariant, Sampling, Verdict

SHORT = Sampling(max_new_tokens=6)
CONFIG = AblationConfig(SHORT, timed=2, batch_rows=4)
WIN, TIE, LOSS = Verdict("persona", 1, 1), Verdict("tie", 1, 0), Verdict("neutral", 0, 0)
NEUTRAL = [build_prompt(text, PromptVariant()) for text in TEXTS]


@pytest.fixture(scope="module")
def gated(tiny: LocalModel, tmp_path_factory: pytest.TempPathFactory) -> GatedModel:
    return tiny_gated(tiny, tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def teacher(tiny: LocalModel) -> AnswerKl:
    return AnswerKl([j.pair for j in judged_pairs()], variant_of, tiny, Progress())


def inputs_of(gated: GatedModel, held_out: list[JudgedPair] | None = None) -> AblationInputs:
    held_out = held_out or judged_pairs()
    parts = SystemParts(gated.base, variant_of, tuple(PEOPLE.values()), gated)
    systems, missing = build_systems(parts, held_out)
    return AblationInputs(held_out, systems, missing, behaviour=lambda answer: "e" in answer)


class CountingJudge:
    """A judge that prefers the longer answer and counts what it was asked."""

    def __init__(self) -> None:
        self.asked: list[JudgePair] = []

    def judge(
        self, pairs: Sequence[JudgePair], *, cancel: threading.Event | None = None
    ) -> list[Verdict]:
        self.asked += pairs
        longer = [len(p.persona_answer) - len(p.neutral_answer) for p in pairs]
        return [WIN if n > 0 else LOSS if n < 0 else TIE for n in longer]


# ---- the KL


def test_full_kl_by_hand() -> None:
    p, q = [0.5, 0.25, 0.25], [0.25, 0.25, 0.5]
    # 0.5 ln(0.5/0.25) + 0.25 ln(1) + 0.25 ln(0.25/0.5) = 0.25 ln 2
    logits = torch.tensor([p, q]).log() + torch.tensor([[3.0], [-7.0]])  # a shift changes nothing
    assert full_kl(logits[:1], logits[1:]).item() == pytest.approx(0.25 * math.log(2), abs=1e-6)
    assert full_kl(logits, logits).tolist() == pytest.approx([0, 0], abs=1e-7)


def test_the_kl_of_the_teacher_to_itself_is_0(teacher: AnswerKl, tiny: LocalModel) -> None:
    prompts = [
        build_prompt(j.pair.query.text, variant_of(j.pair.query.persona)) for j in judged_pairs()
    ]
    asked = [KlQuestion(i, prompt, False) for i, prompt in enumerate(prompts)]
    assert teacher.kls(asked) == [0.0] * 6
    # Not because it is not computed: a twin of the weights reads the same.
    fresh = AnswerKl([j.pair for j in judged_pairs()], variant_of, tiny, Progress())
    for i in range(6):
        sample = fresh._samples[i]
        assert sample is not None
        object.__setattr__(sample, "teacher", ())  # it no longer recognises its own prompt
    assert fresh.kls(asked) == pytest.approx([0.0] * 6, abs=1e-5)


def test_the_kl_is_that_of_two_plain_forward_passes(teacher: AnswerKl, tiny: LocalModel) -> None:
    found = teacher.kls([KlQuestion(i, prompt, False) for i, prompt in enumerate(NEUTRAL)])
    for i, judged in enumerate(judged_pairs()):
        answer = encode_text(tiny.tokenizer, judged.pair.persona.text)
        acting = build_prompt(judged.pair.query.text, variant_of(judged.pair.query.persona))
        lines = []
        for prompt in (acting, NEUTRAL[i]):
            ids, _ = pad_left([encode_prompt(tiny.tokenizer, prompt) + answer], torch.device("cpu"))
            with torch.inference_mode():
                logits = tiny.model(input_ids=ids).logits[0, -len(answer) - 1 :]
            lines.append(logits.double().log_softmax(-1))
        by_hand = (lines[0].exp() * (lines[0] - lines[1])).sum(-1).mean().item()
        assert by_hand > 0.01
        assert found[i] == pytest.approx(by_hand, rel=1e-3)


def test_an_adapter_moves_the_kl_of_the_rows_that_it_is_on(
    teacher: AnswerKl, gated: GatedModel
) -> None:
    off = teacher.kls([KlQuestion(i, p, False) for i, p in enumerate(NEUTRAL)])
    on = teacher.kls([KlQuestion(i, p, True) for i, p in enumerate(NEUTRAL)], gated.lora)
    mixed = [KlQuestion(i, p, i % 2 == 0) for i, p in enumerate(NEUTRAL)]
    for i, kl in enumerate(teacher.kls(mixed, gated.lora)):
        assert kl == pytest.approx((on if i % 2 == 0 else off)[i], abs=1e-4)
        assert abs((on[i] or 0) - (off[i] or 0)) > 0.01
    assert not any(m._forward_hooks for m in gated.base.model.modules())
    with pytest.raises(InputError, match="none was given"):
        teacher.kls(mixed)


def test_an_empty_or_too_long_answer_has_no_kl(tiny: LocalModel) -> None:
    [first, second, *_] = [j.pair for j in judged_pairs()]
    empty = type(first)(first.query, Completion(""), first.neutral)
    kl = AnswerKl([empty, second], variant_of, tiny, Progress())
    long = build_prompt("word " * 600, PromptVariant())
    asked = [
        KlQuestion(0, NEUTRAL[0], False),
        KlQuestion(1, long, False),
        KlQuestion(1, NEUTRAL[1], False),
    ]
    found = kl.kls(asked)
    assert found[:2] == [None, None]
    assert found[2] is not None


# ---- the table's arithmetic


def outcome(
    text: str, verdict: Verdict | None, kl: float | None = 1.0, routed: bool = False
) -> QueryOutcome:
    return QueryOutcome(Completion(text, tokens=3), 10, routed, kl, verdict, None)


def test_cells_by_hand() -> None:
    held_out = judged_pairs(wanted=True)  # wanted: 0, 2, 4
    base = [outcome("plain", None, kl) for kl in (1.0, 2.0, 1.0, 2.0, 1.0, 2.0)]
    mine = [
        outcome("arr", WIN, 0.5, True),
        outcome("plain", TIE, 2.0),
        outcome("arr", WIN, 0.25, True),
        outcome("arr", LOSS, 3.0, True),
        outcome("plain", TIE, 1.0),
        outcome("plain", TIE, None),
    ]
    cells = make_cells(mine, base, held_out, lambda text: "arr" in text)
    values = {key: cell.estimate.value for key, cell in cells.items()}
    assert values["win_rate"] == pytest.approx((1 + 0.5 + 1 + 0 + 0.5 + 0.5) / 6)
    assert values["ties"] == pytest.approx(3 / 6)
    assert values["kl"] == pytest.approx((0.5 + 2 + 0.25 + 3 + 1) / 5)
    assert values["kl_wanted"] == pytest.approx((0.5 + 0.25 + 1) / 3)
    assert values["kl_unwanted"] == pytest.approx((2 + 3) / 2)
    assert values["routed"] == pytest.approx(3 / 6)
    assert values["behaviour_wanted"] == pytest.approx(2 / 3)
    assert values["behaviour_unwanted"] == pytest.approx(1 / 3)
    assert values["unchanged_unwanted"] == pytest.approx(2 / 3)
    assert values["prompt_tokens"] == 10
    assert "seconds" not in values, "nothing was timed: no cell, not 0"
    # Two KLs, 2 and 3: their spread alone would allow a negative mean.
    assert cells["kl_unwanted"].estimate.low == 0.0
    changes = {key: cell.change for key, cell in cells.items() if cell.change}
    assert changes["win_rate"].value == pytest.approx(3.5 / 6 - 0.5)
    assert changes["kl"].value == pytest.approx((-0.5 + 0 - 0.75 + 1 + 0) / 5)
    assert changes["kl"].n == 5, "a query that only one side measured is no pair"
    assert changes["behaviour_wanted"].value == pytest.approx(2 / 3)
    assert not changes.keys() & {"ties", "routed", "unchanged_unwanted"}


def test_the_base_has_no_win_rate_and_no_change() -> None:
    base = [outcome("plain", None) for _ in TEXTS]
    cells = make_cells(base, base, judged_pairs())
    assert "win_rate" not in cells
    assert all(cell.change is None for cell in cells.values())
    assert not any(key.startswith("behaviour") for key in cells)


def test_where_nothing_is_known_the_verdict_says_where_the_persona_is_wanted() -> None:
    base = [outcome("plain", None, float(i)) for i in range(6)]
    cells = make_cells(base, base, judged_pairs())  # won: 0, 2, 4
    assert cells["kl_wanted"].estimate.value == pytest.approx((0 + 2 + 4) / 3)
    assert cells["kl_unwanted"].estimate.value == pytest.approx((1 + 3 + 5) / 3)


# ---- the whole comparison


def test_one_table_of_all_systems(gated: GatedModel, tiny: LocalModel) -> None:
    journal, judge = MemoryJournal(), CountingJudge()
    inputs = inputs_of(gated)
    table = compare_systems(CONFIG, inputs, judge, variant_of, tiny, journal, Progress())
    assert [row.system for row in table.rows] == [s.name for s in inputs.systems]
    assert [row.system for row in table.missing] == ["sft"]
    assert (table.queries, table.wanted) == (6, 3)
    assert "Only 6" in table.notes[0]
    base, matched, prism = (table.row(n) for n in ("base", "persona_prompt", "prism"))
    always, shuffled, perfect = (table.row(n) for n in ("kl_lora", "random_gate", "oracle_gate"))
    assert base and matched and prism and always and shuffled and perfect

    def value(row: object, key: str) -> float:
        number = row.cells[key].estimate.value  # type: ignore[attr-defined]
        assert number is not None
        return float(number)

    routed = [value(r, "routed") for r in (base, matched, prism, shuffled, perfect, always)]
    assert routed == pytest.approx([0, 1, 2 / 6, 2 / 6, 3 / 6, 1])
    assert value(matched, "kl") == 0.0
    read = sum(len(encode_prompt(tiny.tokenizer, prompt)) for prompt in NEUTRAL) / 6
    assert value(base, "prompt_tokens") == pytest.approx(read)
    chosen = table.row("chosen_persona")
    assert chosen and value(chosen, "prompt_tokens") > read + 30, "it read the list of people too"
    assert value(prism, "prompt_tokens") == value(base, "prompt_tokens")
    assert value(perfect, "unchanged_unwanted") == 1.0
    # What PRISM leaves to the base is the base's to the letter, whoever else is in the batch.
    system = next(s for s in inputs.systems if s.name == "prism")
    plans = system.route([j.pair.query for j in inputs.held_out], None)
    closed = [
        p.is_routed is False
        for p, j in zip(plans, inputs.held_out, strict=True)
        if j.route == "retain"
    ]
    assert value(prism, "unchanged_unwanted") >= sum(closed) / len(closed)
    # The oracle is the base where the persona lost, and the open adapter where it won.
    assert value(perfect, "kl_unwanted") == pytest.approx(value(base, "kl_unwanted"), abs=1e-6)
    assert value(perfect, "kl_wanted") == pytest.approx(value(always, "kl_wanted"), abs=1e-6)
    assert all(row.cells["seconds"].estimate.n == 2 for row in table.rows)
    assert len(judge.asked) == len({(p.question, p.persona_answer) for p in judge.asked})
    assert all(p.persona_answer != p.neutral_answer for p in judge.asked)
    assert load_table(journal) == table
    keys = [column.key for column in table.columns]
    assert keys == [c.key for c in COLUMNS if c.key in keys]


def test_a_resumed_comparison_equals_an_uninterrupted_one(
    gated: GatedModel, tiny: LocalModel
) -> None:
    config = AblationConfig(SHORT, timed=0, batch_rows=4)
    whole = compare_systems(
        config, inputs_of(gated), ModelJudge(tiny), variant_of, tiny, MemoryJournal(), Progress()
    )
    journal, parts = MemoryJournal(), 0
    for stop_after in (3, 6, 9, 12, 10_000):
        cancel, seen = threading.Event(), 0

        def stop(_report: ProgressReport, after: int = stop_after, e: object = cancel) -> None:
            nonlocal seen
            seen += 1
            if seen >= after:
                e.set()  # type: ignore[attr-defined]

        progress = Progress(stop, cancel)
        try:
            table = compare_systems(
                config, inputs_of(gated), ModelJudge(tiny), variant_of, tiny, journal, progress
            )
        except CancelledError:
            parts += 1
            assert load_table(journal) is None
    assert parts >= 2
    assert pack(table) == pack(whole)


def test_a_finished_comparison_is_read_not_made_again(
    gated: GatedModel, tiny: LocalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, judge = MemoryJournal(), CountingJudge()
    inputs = inputs_of(gated)
    first = compare_systems(CONFIG, inputs, judge, variant_of, tiny, journal, Progress())
    asked = len(judge.asked)
    monkeypatch.setattr(System, "answer", None)  # nobody may answer any more
    again = compare_systems(CONFIG, inputs, judge, variant_of, tiny, journal, Progress())
    assert again == first
    assert len(judge.asked) == asked


def test_an_adapter_that_was_trained_anew_is_measured_anew(
    gated: GatedModel, tiny: LocalModel
) -> None:
    config = AblationConfig(SHORT, timed=0)
    journal = MemoryJournal()
    compare_systems(
        config, inputs_of(gated), CountingJudge(), variant_of, tiny, journal, Progress()
    )
    other = GatedModel(
        tiny, gated.lora, gated.gate, threshold=gated.threshold, adapter_hash="another"
    )
    before = len(journal.load("ablation_answers"))
    compare_systems(
        config, inputs_of(other), CountingJudge(), variant_of, tiny, journal, Progress()
    )
    # Six answers of the open adapter, which PRISM's open gate shares; the others are as they were.
    assert len(journal.load("ablation_answers")) == before + 6
    moved = GatedModel(tiny, gated.lora, gated.gate, threshold=1.0, adapter_hash="another")
    compare_systems(
        config, inputs_of(moved), CountingJudge(), variant_of, tiny, journal, Progress()
    )
    # Another threshold changes only who answers what: each answer is there already.
    assert len(journal.load("ablation_answers")) == before + 6


def test_shared_answers_are_those_that_each_system_gives_by_itself(
    gated: GatedModel, tiny: LocalModel
) -> None:
    inputs, journal = inputs_of(gated), MemoryJournal()
    config = AblationConfig(SHORT, timed=0)
    together = compare_systems(
        config, inputs, CountingJudge(), variant_of, tiny, journal, Progress()
    )
    for name in ("random_gate", "oracle_gate"):
        pair = [s for s in inputs.systems if s.name in ("base", name)]
        alone = compare_systems(
            config,
            AblationInputs(inputs.held_out, pair, behaviour=inputs.behaviour),
            CountingJudge(),
            variant_of,
            tiny,
            MemoryJournal(),
            Progress(),
        )
        mine, shared = alone.row(name), together.row(name)
        assert mine and shared
        for key, cell in mine.cells.items():
            same = pytest.approx(shared.cells[key].estimate.value, abs=1e-5)  # a KL's rounding
            assert cell.estimate.value == same, key


def test_bad_comparisons_are_refused(gated: GatedModel, tiny: LocalModel) -> None:
    def run(config: AblationConfig, inputs: AblationInputs) -> None:
        compare_systems(
            config, inputs, CountingJudge(), variant_of, tiny, MemoryJournal(), Progress()
        )

    inputs = inputs_of(gated)
    with pytest.raises(InputError, match="No query was held out"):
        run(CONFIG, AblationInputs([], inputs.systems))
    with pytest.raises(InputError, match="with 'base'"):
        run(CONFIG, AblationInputs(judged_pairs(), inputs.systems[1:]))
    with pytest.raises(InputError, match="'q0'"):
        run(CONFIG, AblationInputs(judged_pairs() * 2, inputs.systems))
    with pytest.raises(InputError, match="timed is -1"):
        run(AblationConfig(SHORT, timed=-1), inputs)


def test_on_another_architecture(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    """Gemma scales its embeddings and shares its head; the whole comparison still holds."""
    base = tiny_model("gemma", tokenizer)
    gated = tiny_gated(base, tmp_path, opens=1)
    config = AblationConfig(SHORT, timed=0)
    table = compare_systems(
        config, inputs_of(gated), CountingJudge(), variant_of, base, MemoryJournal(), Progress()
    )
    row = table.row("persona_prompt")
    assert row is not None
    assert row.cells["kl"].estimate.value == 0.0
