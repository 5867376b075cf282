"""Comparing arms: one batch, one draft, snapshots in order, and the persona's pull."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from support.gated_parts import save_random_lora

from prism_core.compare.comparison import (
    ARMS,
    EMPTY_DRAFT,
    MOVED,
    NO_ADAPTER,
    ArmKind,
    ComparisonRequest,
    compare,
    verification_prompt,
)
from prism_core.compare.logprob_shift import LogprobShift, largest_shifts, logprob_shift
from prism_core.errors import InputError, ModelError
from prism_core.lora.weights import LoraWeights
from prism_core.models.generator import BaseGenerator, Request
from prism_core.models.local import LocalModel
from prism_core.personas.library import load_personas
from prism_core.prism.gating.gate import Gate
from prism_core.prism.gating.gated_model import GatedModel
from prism_core.types import (
    ChoiceScore,
    Completion,
    GateReading,
    Message,
    Persona,
    Prompt,
    PromptVariant,
    Sampling,
)

PIRATE = Persona("pirate", "Pirate", "behaviour", "the sea", {"long": "You are a pirate."})
PLAIN = Persona("plain", "Plain text", "control", "nothing", {"long": "This is a plain text."})
FOUR = Sampling(max_new_tokens=4)


class Echo(BaseGenerator):
    """A generator that spells out what it was asked, a word a step, and remembers every call."""

    name = "echo"
    fingerprint = "echo"

    def __init__(self, has_system_role: bool = True, silent: bool = False) -> None:
        self.has_system_role = has_system_role
        self.silent = silent
        self.calls: list[tuple[list[Prompt], list[int], list[str] | None]] = []
        self.requests: list[Request] = []

    def answer(
        self,
        requests: Sequence[Request],
        *,
        cancel: threading.Event | None = None,
        gates: Sequence[str] | None = None,
    ) -> Iterator[list[Completion]]:
        prompts, seeds = [r.prompt for r in requests], [r.seed for r in requests]
        self.requests += requests
        self.calls.append((prompts, seeds, list(gates) if gates else None))
        texts = ["" if self.silent else " | ".join(m.content for m in p) for p in prompts]
        for step in (1, 2):
            if cancel is not None and cancel.is_set():
                return
            reading = GateReading(0.25, False) if gates else None
            yield [Completion(t[: len(t) * step // 2], tokens=step, gate=reading) for t in texts]

    def score_choices(
        self,
        prompts: Sequence[Prompt],
        choices: Sequence[Sequence[str]],
        *,
        cancel: threading.Event | None = None,
    ) -> list[list[ChoiceScore]]:
        raise NotImplementedError


def ask(
    *arms: ArmKind, question: str = "Why?", persona: Persona | None = PIRATE
) -> ComparisonRequest:
    return ComparisonRequest(question, arms, PromptVariant(persona), PLAIN, FOUR, seed=7)


def last(request: ComparisonRequest, model: Echo, **more: object) -> dict[str, object]:
    answers = list(compare(request, model, **more))[-1]  # type: ignore[arg-type]
    return {a.arm: a for a in answers}


def test_arms_are_rows_of_one_batch_with_the_same_seed() -> None:
    model = Echo()
    snapshots = list(compare(ask("control", "neutral", "persona"), model))
    [(prompts, seeds, gates)] = model.calls
    assert gates is None
    assert seeds == [7, 7, 7]
    assert [p[0].content for p in prompts] == ["This is a plain text.", "Why?", "You are a pirate."]
    assert all([a.arm for a in s] == ["control", "neutral", "persona"] for s in snapshots)
    # One snapshot before the first token, then one a step: 1 + 2.
    assert len(snapshots) == 3
    assert [a.completion for a in snapshots[0]] == [None, None, None]
    assert [a.label for a in snapshots[0]] == ["Plain text", "Neutral", "Pirate"]
    assert [a.completion.tokens for a in snapshots[2] if a.completion] == [2, 2, 2]


def test_every_request_says_whose_it_is_and_how_it_is_sampled() -> None:
    model = Echo()
    list(compare(replace(ask("neutral", "persona", "verify"), owner="10.0.0.7"), model))
    assert len(model.requests) == 3, "the persona's draft is verified, not written again"
    assert {r.owner for r in model.requests} == {"10.0.0.7"}
    assert {r.sampling for r in model.requests} == {FOUR}
    assert {r.adapter for r in model.requests} == {None}


def test_persona_and_verify_share_one_draft() -> None:
    model = Echo()
    snapshots = list(compare(ask("persona", "verify"), model))
    first, second = model.calls
    assert len(first[0]) == 1
    draft = "You are a pirate. | Why?"
    assert second[0] == [verification_prompt("Why?", draft)]
    assert len(snapshots) == 1 + 2 + 2
    persona, verified = snapshots[-1]
    assert persona.completion == verified.draft
    assert verified.draft is not None and verified.draft.text == draft
    assert verified.completion is not None
    assert snapshots[2][1].completion is None, "the second pass begins after the draft"


def test_verify_alone_makes_its_own_draft() -> None:
    model = Echo()
    [verified] = list(compare(ask("verify"), model))[-1]
    assert verified.draft is not None
    assert [len(prompts) for prompts, _, _ in model.calls] == [1, 1]


def test_verification_never_mentions_the_persona() -> None:
    [message] = verification_prompt("What is {x}?", "It is {y} {{z}}.")
    assert message.role == "user"
    assert "What is {x}?" in message.content
    assert "It is {y} {{z}}." in message.content
    assert "persona" not in message.content.lower()


def test_an_empty_draft_is_not_verified() -> None:
    model = Echo(silent=True)
    [verified] = list(compare(ask("verify"), model))[-1]
    assert verified.completion is None
    assert verified.note == EMPTY_DRAFT
    assert len(model.calls) == 1


def test_prism_without_an_adapter_says_so() -> None:
    model = Echo()
    [snapshot] = list(compare(ask("prism"), model))
    assert snapshot[0].completion is None
    assert snapshot[0].note == NO_ADAPTER
    assert model.calls == []
    answers = last(ask("neutral", "prism"), model)
    assert answers["prism"].completion is None  # type: ignore[attr-defined]
    assert answers["neutral"].completion is not None  # type: ignore[attr-defined]


def test_prism_joins_the_batch_with_only_its_own_gate_free() -> None:
    base, gated = Echo(), Echo()
    answers = last(ask("neutral", "prism", "verify"), base, adapter=gated)
    assert base.calls == []
    drafts, second = gated.calls
    assert drafts[2] == ["closed", "auto", "closed"]
    assert [len(p) for p in drafts[0]] == [1, 1, 2], "PRISM reads the bare question"
    assert second[2] == ["closed"]
    assert answers["prism"].completion.gate == GateReading(0.25, False)  # type: ignore[attr-defined]
    assert answers["neutral"].completion.gate is None  # type: ignore[attr-defined]
    assert answers["verify"].completion.gate is None  # type: ignore[attr-defined]


def test_an_adapter_is_left_alone_where_prism_was_not_asked() -> None:
    base, gated = Echo(), Echo()
    last(ask("neutral"), base, adapter=gated)
    assert len(base.calls) == 1
    assert gated.calls == []


def test_a_moved_placement_is_noted() -> None:
    model = Echo(has_system_role=False)
    answers = last(ask("neutral", "persona", "control", "verify"), model)
    notes = {arm: a.note for arm, a in answers.items()}  # type: ignore[attr-defined]
    assert notes == {"neutral": "", "persona": MOVED, "control": MOVED, "verify": MOVED}
    prompts = model.calls[0][0]
    assert prompts[1] == (Message("user", "You are a pirate.\n\nWhy?"),)


def test_stopping_ends_before_the_second_pass() -> None:
    model, cancel = Echo(), threading.Event()
    steps = compare(ask("verify"), model, cancel=cancel)
    next(steps)
    next(steps)
    cancel.set()
    list(steps)
    assert len(model.calls) == 1


@pytest.mark.parametrize(
    ("request_", "quoted"),
    [
        (ask(), "at least one of neutral"),
        (ask("neutral", "neutral"), "'neutral' was chosen twice"),
        (ask("bogus"), "'bogus'"),  # type: ignore[arg-type]
        (ask("verify", persona=None), "'verify' needs a persona"),
        (ask("neutral", question=" \x00\n"), "empty"),
        (ask("neutral", question="x" * 8001), "8,001"),
        (replace(ask("persona"), variant=PromptVariant(PIRATE, "min")), "length 'min'"),
    ],
)
def test_bad_requests_are_refused_before_the_first_token(
    request_: ComparisonRequest, quoted: str
) -> None:
    model = Echo()
    with pytest.raises(InputError, match=quoted):
        compare(request_, model)  # not iterated
    assert model.calls == []


def test_strongest_sorts_by_size_and_keeps_the_sign() -> None:
    pulled = LogprobShift(("a", "b", "c"), (0.5, -2.0, 1.0), -0.5)
    assert largest_shifts(pulled, 2) == (("b", -2.0), ("c", 1.0))


def test_pull_needs_a_scorer_a_persona_and_an_answer(tiny: LocalModel) -> None:
    with pytest.raises(ModelError, match="'echo'"):
        logprob_shift("Why?", "So.", PromptVariant(PIRATE), Echo())
    with pytest.raises(InputError, match="persona"):
        logprob_shift("Why?", "So.", PromptVariant(), tiny)
    with pytest.raises(InputError, match="empty"):
        logprob_shift("Why?", " ", PromptVariant(PIRATE), tiny)


def test_pull_is_the_difference_of_two_forward_passes(tiny: LocalModel) -> None:
    answer = "Arr, the sea is blue."
    pulled = logprob_shift("Why?", answer, PromptVariant(PIRATE), tiny)
    persona = (Message("system", "You are a pirate."), Message("user", "Why?"))
    [with_persona] = tiny.score_tokens([persona], [answer])
    [neutral] = tiny.score_tokens([(Message("user", "Why?"),)], [answer])
    assert "".join(pulled.tokens) == answer
    expected = [p.logprob - n.logprob for p, n in zip(with_persona, neutral, strict=True)]
    assert pulled.shifts == pytest.approx(expected, abs=1e-4)
    assert pulled.total == pytest.approx(sum(expected), abs=1e-3)


def test_an_arm_does_not_depend_on_the_other_arms(tiny: LocalModel) -> None:
    sampling = Sampling(max_new_tokens=12, temperature=0.9, top_p=0.9)
    together = list(compare(replace(ask("neutral", "persona"), sampling=sampling), tiny))[-1]
    alone = list(compare(replace(ask("persona"), sampling=sampling), tiny))[-1]
    assert together[1].completion is not None and alone[0].completion is not None
    assert together[1].completion.text == alone[0].completion.text


def test_a_real_gated_model_leaves_the_other_arms_alone(tiny: LocalModel, tmp_path: Path) -> None:
    save_random_lora(tiny, tmp_path)
    gate = Gate(tiny.model.config.hidden_size, "last").eval().requires_grad_(False)
    always_open = GatedModel(tiny, LoraWeights.load(tmp_path, tiny.model), gate, threshold=0.0)
    request = ask("neutral", "persona", "prism", "verify")
    plain = {a.arm: a for a in list(compare(request, tiny))[-1]}
    gated = {a.arm: a for a in list(compare(request, tiny, adapter=always_open))[-1]}
    for arm in ("neutral", "persona", "verify"):
        assert gated[arm].completion.text == plain[arm].completion.text  # type: ignore[union-attr]
    prism = gated["prism"].completion
    assert prism is not None and prism.gate is not None and prism.gate.is_open
    assert prism.text != gated["neutral"].completion.text  # type: ignore[union-attr]


def test_all_arms_on_the_embedded_model(model: LocalModel) -> None:
    personas = load_personas()
    request = ComparisonRequest(
        "What is the capital of France?",
        ARMS,
        PromptVariant(personas["helpful"], "short"),
        personas["neutral_text"],
        Sampling(max_new_tokens=16),
        seed=0,
    )
    answers = {a.arm: a for a in list(compare(request, model))[-1]}
    assert "Paris" in answers["neutral"].completion.text  # type: ignore[union-attr]
    for arm in ("neutral", "persona", "control", "verify"):
        done = answers[arm].completion
        assert done is not None and done.text and done.finish in ("stop", "length")
    assert answers["verify"].draft == answers["persona"].completion
    assert answers["prism"].note == NO_ADAPTER


def test_a_pirate_is_pulled_towards_pirate_talk(model: LocalModel) -> None:
    variant = PromptVariant(PIRATE)
    arr = logprob_shift("How are you?", "Arr, matey, I be sailin' the seven seas!", variant, model)
    assert arr.total > 5, "the persona makes this answer at least e^5 times likelier"
    assert "".join(arr.tokens) == "Arr, matey, I be sailin' the seven seas!"
    assert largest_shifts(arr, 1)[0][1] == max(arr.shifts, key=abs)
