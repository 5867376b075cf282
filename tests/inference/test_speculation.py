"""Fused and speculative decoding writes what plain decoding writes, and notices a changed model."""

from __future__ import annotations

import threading

import pytest
import torch
from support.tiny_models import tiny_model
from transformers import PreTrainedTokenizerBase

from prism_core.inference.cpu import linear_kernels, speculation
from prism_core.inference.cpu.fused_llama import FusedDecoder, can_fuse
from prism_core.inference.cpu.linear_kernels import (
    Int4Linear,
    Int8Linear,
    MklLinear,
    OneDnnLinear,
    exact_linear,
    mkl_blocks_fit_all,
    quantise,
)
from prism_core.inference.cpu.slot_cache import SlotCache
from prism_core.inference.decoding import decode
from prism_core.inference.prefill import prefill
from prism_core.models.chat import encode_prompt
from prism_core.models.local import LocalModel
from prism_core.prism.bundle import load_bundle
from prism_core.types import GateMode, Message, Prompt, Sampling
from prism_core.utils.assets import ASSETS

DEMO = ASSETS / "adapters" / "demo"
QUESTIONS = (
    "Write a line about the sea.",
    "2+2?",
    "Why do leaves fall in autumn, and what happens to the tree in the months that follow?",
)
PROMPTS: list[Prompt] = [(Message("user", q),) for q in QUESTIONS]
SETTINGS = [
    Sampling(max_new_tokens=24),
    Sampling(max_new_tokens=24, temperature=0.8, top_p=0.9, repetition_penalty=1.1),
    Sampling(max_new_tokens=24, temperature=1.0, top_k=40),
]


def token_rows(model: LocalModel, prompts: list[Prompt], sampling: Sampling, fused: bool) -> list:
    """The token ids of each row, by fused steps or by the library's."""
    rows = [encode_prompt(model.tokenizer, p) for p in prompts]
    written: list[list[int]] = [[] for _ in rows]
    seeds = list(range(len(rows)))
    how = model._fused() if fused else None
    assert (how is not None) is fused
    for step in decode(model.model, rows, sampling, seeds, model.stop_ids, fused=how):
        for row, token in step:
            written[row].append(token)
    return written


@pytest.mark.parametrize("sampling", SETTINGS, ids=["greedy", "nucleus", "top-k"])
@pytest.mark.parametrize("rows", [1, 3])
def test_guessing_writes_what_plain_decoding_writes(
    model: LocalModel, sampling: Sampling, rows: int
) -> None:
    plain = token_rows(model, PROMPTS[:rows], sampling, fused=False)
    assert token_rows(model, PROMPTS[:rows], sampling, fused=True) == plain


@pytest.mark.parametrize("gates", ["open", ["closed", "open", "closed"]], ids=["open", "mixed"])
def test_guesses_with_an_adapter_are_checked_and_mostly_right(
    model: LocalModel, gates: list[GateMode], monkeypatch: pytest.MonkeyPatch
) -> None:
    gated = load_bundle(DEMO, model)
    rates = []
    true_note = speculation._DraftLength.note

    def note(length: speculation._DraftLength, right: int, wrong: int) -> None:
        rates.append((right, wrong))
        true_note(length, right, wrong)

    monkeypatch.setattr(speculation._DraftLength, "note", note)
    sampling = SETTINGS[0]
    fused = gated.generate(PROMPTS, sampling, gates=gates)
    right, wrong = map(sum, zip(*rates, strict=True))
    assert right / (right + wrong) > 0.7
    monkeypatch.setattr(model, "_fused", lambda: None)
    plain = gated.generate(PROMPTS, sampling, gates=gates)
    assert [c.text for c in fused] == [c.text for c in plain]
    assert fused[1].text != model.generate(PROMPTS[1:2], sampling)[0].text


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_bad_guesses_cost_time_but_change_nothing(
    kind: str, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model(kind, tokenizer)
    counts = []

    def contrary(*arguments: object) -> torch.Tensor:
        drafts = true_guess(*arguments)
        counts.append(drafts.shape[1])
        # Every second guess is made wrong.
        return torch.where(torch.arange(drafts.shape[1]) % 2 == 1, drafts + 1, drafts)

    true_guess = speculation._guess
    monkeypatch.setattr(speculation, "_guess", contrary)
    sampling = Sampling(max_new_tokens=20, temperature=0.7, repetition_penalty=1.2)
    guessed = token_rows(model, PROMPTS, sampling, fused=True)
    assert counts[0] > 1
    assert min(counts) < counts[0], "it guesses less when it is wrong"
    assert guessed == token_rows(model, PROMPTS, sampling, fused=False)


def test_many_rows_are_decoded_without_guesses(tiny: LocalModel) -> None:
    prompts = [PROMPTS[i % 3] for i in range(32)]
    sampling = Sampling(max_new_tokens=6, temperature=0.9)
    together = tiny.generate(prompts, sampling, seed=list(range(32)))
    for i in (0, 13, 31):
        assert together[i].text == tiny.generate([prompts[i]], sampling, seed=i)[0].text


def test_fused_steps_give_the_library_s_logits(model: LocalModel) -> None:
    rows = [encode_prompt(model.tokenizer, p) for p in PROMPTS]
    fused = FusedDecoder(model.model)
    with torch.inference_mode():
        _, cache, mask = prefill(model.model, rows)
        slots = SlotCache.from_prefill(cache, mask)
        new = torch.tensor([[7, 8, 9], [10, 11, 12], [13, 14, 15]])
        first = fused.step(slots, new[:, :1])
        slots.used = slots.used + 1
        rest = fused.step(slots, new[:, 1:])
        for i, row in enumerate(rows):
            whole = model.model(torch.tensor([row + new[i].tolist()])).logits[0, -3:]
            assert torch.allclose(torch.cat([first[i], rest[i]]), whole, atol=2e-3)


def test_a_changed_or_hooked_model_is_noticed(tokenizer: PreTrainedTokenizerBase) -> None:
    model = tiny_model("llama", tokenizer)
    before = model.generate(PROMPTS[:1], Sampling(max_new_tokens=8))[0].text
    with torch.no_grad():
        for weight in model.model.parameters():
            weight.add_(torch.randn(weight.shape) * 0.3)
    after = model.generate(PROMPTS[:1], Sampling(max_new_tokens=8))[0].text
    assert after != before
    fresh = LocalModel(model.weights).generate(PROMPTS[:1], Sampling(max_new_tokens=8))[0].text
    assert after == fresh, "the fused weights followed the change"
    linear = model.model.get_submodule("model.layers.1.mlp.up_proj")
    handle = linear.register_forward_hook(lambda *_: None)
    assert not can_fuse(model.model)
    handle.remove()
    assert can_fuse(model.model)


def test_gemma_decodes_by_the_library_s_layers(tokenizer: PreTrainedTokenizerBase) -> None:
    assert not can_fuse(tiny_model("gemma", tokenizer).model)


def test_cancelling_stops_between_guesses(model: LocalModel) -> None:
    cancel = threading.Event()
    stream = model.stream(PROMPTS[:1], Sampling(max_new_tokens=50), cancel=cancel)
    for snapshot in stream:
        if snapshot[0].tokens == 3:
            cancel.set()
            break
    assert max(s[0].tokens for s in stream) == 3


def test_rounded_weights_are_close() -> None:
    random = torch.Generator().manual_seed(0)
    weight = torch.randn(64, 96, generator=random)
    bias, x = torch.randn(64, generator=random), torch.randn(5, 96, generator=random)
    right = torch.nn.functional.linear(x, weight, bias)
    # 16 levels over about 4 standard deviations: steps of 0.27, an error of 0.27 / sqrt(12) = 0.08.
    error = (Int4Linear(weight)(x) - (right - bias)).std() / (right - bias).std()
    assert 0.02 < float(error) < 0.12
    error = (Int8Linear(weight, bias)(x) - right).std() / right.std()
    assert float(error) < 0.02


@pytest.mark.parametrize("kind", [MklLinear, OneDnnLinear])
@pytest.mark.parametrize("outputs, inputs", [(64, 96), (17, 33), (1, 1)])
def test_blocks_of_either_library_hold_the_very_weights(
    kind: type[MklLinear | OneDnnLinear], outputs: int, inputs: int
) -> None:
    if kind is MklLinear and not mkl_blocks_fit_all():
        pytest.skip("this torch comes without MKL")
    random = torch.Generator().manual_seed(0)
    weight = torch.randn(outputs, inputs, generator=random)
    bias = torch.randn(outputs, generator=random)
    with_bias, without = kind(weight, bias), kind(weight)
    # The blocks are laid out once, and read with any number of rows.
    for rows in (1, 2, 3, 7, 16, 33, 64, 65, 200):
        x = torch.randn(rows, inputs, generator=random)
        right = torch.nn.functional.linear(x, weight, bias)
        assert torch.allclose(with_bias(x), right, atol=1e-4)
        assert torch.allclose(without(x), right - bias, atol=1e-4)
        assert torch.allclose(with_bias.added(x, right), 2 * right, atol=1e-4)


def test_without_mkl_the_blocks_are_onednns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_kernels, "mkl_blocks_fit_all", lambda: False)
    assert isinstance(exact_linear(torch.ones(2, 3)), OneDnnLinear)
    monkeypatch.setattr(linear_kernels, "mkl_blocks_fit_all", lambda: True)
    assert isinstance(exact_linear(torch.ones(2, 3)), MklLinear)


def test_codes_of_a_group_span_its_values_by_hand() -> None:
    weight = torch.linspace(-1, 2, 32)[None].repeat(16, 1)
    codes, pair = quantise(weight)
    assert (codes.min(), codes.max()) == (0, 15)
    scale, offset = pair[0, 0].tolist()
    # (2 - -1) / 15 = 0.2, and code 8 stands for -1 + 8 * 0.2 = 0.6.
    assert (scale, offset) == pytest.approx((0.2, 0.6), rel=0.01)
