"""Choices at endpoints: a local model's numbers where given text is scored, else own measures."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.endpoint import endpoint_server
from support.strict_service import Rules, strict_service
from support.study_parts import begin, small_tasks, store
from support.tiny_models import tiny_model
from support.transformers_server import transformers_server
from transformers import PreTrainedTokenizerBase

from prism_core.errors import InputError
from prism_core.models.chat import render
from prism_core.models.local import LocalModel
from prism_core.models.remote import Endpoint, Probe, RemoteGenerator
from prism_core.personas.library import load_personas
from prism_core.personas.prompts import build_prompt
from prism_core.progress import Progress
from prism_core.scorers.graders import named_choice
from prism_core.storage import Store
from prism_core.study.cells import LETTER_TOKENS
from prism_core.study.choice_scoring import (
    choice_question,
    choose_way,
    letter_scores,
    score_choice_items,
)
from prism_core.study.choices import ChoiceScores, Way, p_right, picked
from prism_core.study.file import load_study, save_study
from prism_core.study.records import read_study
from prism_core.study.run import StudyRun
from prism_core.study.spec import StudySpec
from prism_core.study.table import Study
from prism_core.tasks import get_task, pick_items
from prism_core.types import Message, PromptVariant, Sampling

__all__ = ["small_tasks", "store"]
PERSONA = PromptVariant(load_personas()["math"], "short", "system")
WAYS: tuple[Way, ...] = ("letters", "cloze")


# given text, behind the chat template


def like_vllm(local: LocalModel) -> Callable[[Any, dict[str, Any]], dict[str, Any]]:
    """Report log-probabilities of the last turn as vLLM's chat endpoint does."""

    def reply(handler: Any, body: dict[str, Any]) -> dict[str, Any]:
        assert body["continue_final_message"] and not body["add_generation_prompt"]
        *turns, last = [Message(m["role"], m["content"]) for m in body["messages"]]
        (tokens,) = local.score_tokens([tuple(turns)], [last.content])
        places: list[Any] = [None]
        places += [
            {"7": {"logprob": t.logprob, "rank": 1, "decoded_token": t.text}} for t in tokens
        ]
        choice = {"index": 0, "message": {"content": "x"}, "finish_reason": "length"}
        return {"choices": [choice], "prompt_logprobs": places}

    return reply


@torch.inference_mode()
def echoing(local: LocalModel, text: str) -> dict[str, Any]:
    """Report log-probabilities of a text as a completions endpoint with echo does."""
    encoded = local.tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    ids = torch.tensor([encoded["input_ids"]])
    logprobs = local.model(ids).logits[0].float().log_softmax(-1)
    found = [None] + [logprobs[i, t].item() for i, t in enumerate(encoded["input_ids"][1:])]
    spans = encoded["offset_mapping"]
    own = {"tokens": [text[a:b] for a, b in spans], "token_logprobs": found}
    return {"choices": [{"text": text, "logprobs": own | {"text_offset": [a for a, _ in spans]}}]}


@pytest.mark.parametrize("route", ["chat", "completions"])
def test_given_text_gets_the_numbers_of_the_local_model(
    route: Any, tokenizer: PreTrainedTokenizerBase
) -> None:
    local = tiny_model("llama", tokenizer)

    def answer(handler: Any, body: dict[str, Any], number: int) -> bool:
        if handler.path.endswith("/apply-template"):
            turns = tuple(Message(m["role"], m["content"]) for m in body["messages"])
            found: dict[str, Any] = {"prompt": render(local.tokenizer, turns)}
        elif handler.path.endswith("/chat/completions"):
            found = like_vllm(local)(handler, body)
        else:
            found = echoing(local, body["prompt"])
        content = json.dumps(found).encode()
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)
        return True

    items = pick_items(get_task("knowledge"), 1)
    with endpoint_server(trouble=answer) as server:
        remote = RemoteGenerator(Endpoint("mock", server.url), "m")
        remote.remember(Probe("mock", "m", prompt_logprobs=route))
        for way in WAYS:
            ours = score_choice_items(local, PERSONA, items, way)
            theirs = score_choice_items(remote, PERSONA, items, way)
            for a, b in zip(ours, theirs, strict=True):
                assert b.logprobs == pytest.approx(a.logprobs, abs=1e-4)
                assert b.tokens == a.tokens


# the likeliest first tokens


def test_a_letter_counts_with_and_without_its_blank_and_a_missing_one_at_most() -> None:
    top = {"A": math.log(0.5), " A": math.log(0.2), "B": math.log(0.1), "The": math.log(0.05)}
    scores = letter_scores(top, 3)
    # A: 0.5 + 0.2; C is missing: at most the last one's 0.05, and the rest is 0.15.
    assert [math.exp(v) for v in scores.logprobs] == pytest.approx([0.7, 0.1, 0.05])
    assert picked(scores, "first_token") == 0
    assert p_right(scores, "first_token", 1) == pytest.approx(0.1 / 0.85)
    # What is left is less than the last one: 1 - 0.9 - 0.08 = 0.02.
    scores = letter_scores({"B": math.log(0.9), "x": math.log(0.08)}, 2)
    assert [math.exp(v) for v in scores.logprobs] == pytest.approx([0.02, 0.9])


def test_no_letter_among_them_is_no_choice() -> None:
    none = letter_scores({"The": -0.1, "I": -3.0}, 4)
    assert none == ChoiceScores((), ())
    assert picked(none, "first_token") is None and p_right(none, "first_token", 0) is None


# which way


def test_the_best_way_there_is_is_chosen_and_an_impossible_one_refused(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    local = tiny_model("llama", tokenizer)
    assert choose_way(local, local, "written") == (
        "written",
        "Choices are measured by the letter that the model writes.",
    )
    with pytest.raises(InputError, match=r"cannot be measured in the way 'first_token'.*'letters'"):
        choose_way(local, local, "first_token")
    for rules, way in ((Rules(), "written"), (Rules(tops=20), "first_token")):
        with strict_service(rules) as service:
            remote = RemoteGenerator(Endpoint("mock", service.url), "m")
            chosen, why = choose_way(remote, remote, "auto")
            assert chosen == way and "a measure of its own" in why
            with pytest.raises(InputError, match=r"of m cannot be measured .*'cloze'.*'written'"):
                choose_way(remote, remote, "cloze")


# a study

SPEC = StudySpec(
    tasks=("t_choice",), personas=("math",), lengths=("min",), models=("mock:m",), n_per_category=0
)


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    file = tmp_path / "endpoints.yaml"
    monkeypatch.setenv("PRISM_ENDPOINTS", str(file))
    yield lambda url: file.write_text(f"mock: {{base_url: '{url}', retries: 0}}") and None


def done(store: Store, spec: StudySpec, row: Any = None) -> Study:
    row = row or begin(store, spec)
    StudyRun(row, store, Progress()).run()
    return read_study(store, row.id)


@pytest.mark.usefixtures("small_tasks")
def test_a_chat_only_endpoint_is_measured_by_the_letters_it_writes(
    store: Store, named: Callable[[str], None], tmp_path: Path
) -> None:
    with strict_service(Rules(completions=404, deltas=({"content": "B. "},))) as service:
        named(service.url)
        study = done(store, SPEC)
        letters = [b for b in service.bodies if "Answer with the letter alone." in str(b)]
        assert all(b["temperature"] == 0 and b["max_tokens"] == LETTER_TOKENS for b in letters)
        before = len(service.bodies)
        assert done(store, SPEC).rows["text"].tolist() == study.rows["text"].tolist()
        assert len(service.bodies) <= before + 8  # a probe alone: answers come from the cache
    rows = study.rows
    assert set(rows["choice"]) == {1} and rows["p_right"].isna().all()
    assert rows["accuracy"].tolist() == rows["correct"].tolist()
    assert 0 < rows["correct"].mean() < 1
    assert study.versions["choices m"] == "by the letter that the model writes"
    assert any("m at mock answers as asked" in note for note in study.notes)
    assert any("a measure of its own" in note for note in study.notes)
    opened = load_study(save_study(study, tmp_path / "study.parquet"))
    assert opened.notes == study.notes and opened.versions == study.versions


@pytest.mark.usefixtures("small_tasks")
def test_an_answer_that_names_no_choice_is_wrong_and_said(
    store: Store, named: Callable[[str], None]
) -> None:
    with strict_service(Rules()) as service:  # it says "Fine answer."
        named(service.url)
        study = done(store, SPEC)
    rows = study.rows
    assert rows["choice"].isna().all() and set(rows["correct"]) == {0.0}
    assert set(rows["text"]) == {"Fine answer."}
    said = f"m: {len(rows)} of {len(rows)} answers name no choice; they count as wrong."
    assert said in study.notes


@pytest.mark.usefixtures("small_tasks")
def test_the_likeliest_first_tokens_are_used_where_they_are_reported(
    store: Store, named: Callable[[str], None]
) -> None:
    with strict_service(Rules(tops=20)) as service:
        named(service.url)
        study = done(store, SPEC)
        assert service.bodies[-1]["top_logprobs"] == 20
    assert set(study.rows["choice"]) == {0} and study.rows["p_right"].between(0.0, 1.0).all()
    assert study.versions["choices m"] == "by the letters among the likeliest first tokens"


@pytest.mark.usefixtures("small_tasks")
def test_a_resumed_study_uses_what_its_probe_found(
    store: Store, named: Callable[[str], None]
) -> None:
    with strict_service(Rules(newer_cap=True, refuses=("seed",))) as service:
        named(service.url)
        row = begin(store, SPEC)
        first = done(store, SPEC, row)
        before = len(service.bodies)
        again = done(store, SPEC, row)
        assert len(service.bodies) == before
    assert again.notes == first.notes
    assert any("without seed, which it refuses" in note for note in first.notes)


def test_written_letters_of_a_local_model_come_through_the_same_study(
    store: Store, small_tasks: None, tokenizer: PreTrainedTokenizerBase
) -> None:
    row = begin(store, replace(SPEC, models=("embedded",), scoring="written"))
    local = tiny_model("llama", tokenizer)
    StudyRun(row, store, Progress(), {"embedded": local}).run()
    study = read_study(store, row.id)
    assert study.rows["tokens"].between(1, LETTER_TOKENS).all()
    assert study.rows["p_right"].isna().all()


# a real server


@pytest.mark.slow
def test_a_real_server_writes_the_letters_that_the_local_model_writes(tmp_path: Path) -> None:
    """96 questions behind `transformers serve` in fp32, half of them with a persona."""
    local = LocalModel.load("embedded", device=torch.device("cpu"), dtype=torch.float32)
    items = pick_items(get_task("knowledge"), 24)
    assert len(items) == 96
    prompts = [
        build_prompt(choice_question(item, "written"), PERSONA if i % 2 else PromptVariant(), True)
        for i, item in enumerate(items)
    ]
    sampling = Sampling(max_new_tokens=LETTER_TOKENS)
    with transformers_server(tmp_path) as (url, name):
        remote = RemoteGenerator(Endpoint("transformers", url, concurrency=1), name)
        assert choose_way(remote, remote, "auto")[0] == "written"
        theirs = [a.text for a in remote.generate(prompts, sampling)]
    ours = [a.text for a in local.generate(prompts, sampling)]
    letters = [
        [named_choice(i, t) for i, t in zip(items, had, strict=True)] for had in (ours, theirs)
    ]
    assert letters[0] == letters[1]
    assert sum(one is not None for one in letters[0]) >= 48
