"""Fused and speculative decoding writes what plain decoding writes, and notices a changed model."""

from __future__ import annotations

import threading

import pytest
import torch
from support.engine_parts import answers, by_library, is_fused
from support.tiny_models import tiny_model
from transformers import PreTrainedTokenizerBase

from prism_core.inference.cpu import linear_kernels
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
from prism_core.inference.cpu.speculation import DraftLength
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


def token_rows(
    model: LocalModel, prompts: list[Prompt], sampling: Sampling, fused: bool
) -> list[list[int]]:
    """The token ids of each row, by fused steps or by the library's."""
    used = model if fused else by_library(model)
    assert is_fused(used) is fused
    rows = [encode_prompt(model.tokenizer, p) for p in prompts]
    return answers(used, rows, sampling, stop_ids=None)


class Drafts:
    """Counts the drafts of every step, and can spoil every second one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, spoils: bool = False) -> None:
        self.counts: list[int] = []
        self._ahead = 0
        true_step = FusedDecoder.step

        def step(
            decoder: FusedDecoder, *arguments: object, draft: bool = False, **named: object
        ) -> torch.Tensor:
            logits = true_step(decoder, *arguments, draft=draft, **named)  # type: ignore[arg-type]
            if draft:
                self._ahead += 1
                # Every token's score goes to its neighbour.
                return logits.roll(1, dims=-1) if spoils and self._ahead % 2 == 0 else logits
            self.counts.append(self._ahead)
            self._ahead = 0
            return logits

        monkeypatch.setattr(FusedDecoder, "step", step)


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
    true_note = DraftLength.note

    def note(length: DraftLength, right: int, wrong: int) -> None:
        rates.append((right, wrong))
        true_note(length, right, wrong)

    monkeypatch.setattr(DraftLength, "note", note)
    sampling = SETTINGS[0]
    fused = gated.generate(PROMPTS, sampling, gates=gates)
    right, wrong = map(sum, zip(*rates, strict=True))
    assert right / (right + wrong) > 0.7
    rates.clear()
    plain = load_bundle(DEMO, by_library(model)).generate(PROMPTS, sampling, gates=gates)
    assert not rates, "the library's layers make no guesses"
    assert [c.text for c in fused] == [c.text for c in plain]
    assert fused[1].text != model.generate(PROMPTS[1:2], sampling)[0].text


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_bad_guesses_cost_time_but_change_nothing(
    kind: str, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model(kind, tokenizer)
    drafts = Drafts(monkeypatch, spoils=True)
    sampling = Sampling(max_new_tokens=20, temperature=0.7, repetition_penalty=1.2)
    guessed = token_rows(model, PROMPTS, sampling, fused=True)
    assert drafts.counts[0] > 1
    assert min(drafts.counts) < drafts.counts[0], "it guesses less when it is wrong"
    assert guessed == token_rows(model, PROMPTS, sampling, fused=False)


def test_many_rows_are_decoded_without_guesses(
    tiny: LocalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [PROMPTS[i % 3] for i in range(32)]
    sampling = Sampling(max_new_tokens=6, temperature=0.9)
    drafts = Drafts(monkeypatch)
    together = tiny.generate(prompts, sampling, seed=list(range(32)))
    assert len(drafts.counts) >= 5 and not any(drafts.counts)
    for i in (0, 13, 31):
        assert together[i].text == tiny.generate([prompts[i]], sampling, seed=i)[0].text
    assert any(drafts.counts), "one row is"


@torch.inference_mode()
def test_fused_steps_give_the_library_s_logits(model: LocalModel) -> None:
    rows = [encode_prompt(model.tokenizer, p) for p in PROMPTS]
    lengths, bare = torch.tensor([len(row) for row in rows]), [None] * 3
    fused = FusedDecoder(model.model)
    cache = fused.new_cache()
    read = fused.read(cache, 0, rows, [0] * 3, bare)
    assert torch.allclose(read, prefill(model.model, rows)[0], atol=2e-3)
    new = torch.tensor([[7, 8, 9], [10, 11, 12], [13, 14, 15]])
    first = fused.step(cache, new[:, :1], lengths, bare)
    rest = fused.step(cache, new[:, 1:], lengths + 1, bare)
    for i, row in enumerate(rows):
        whole = model.model(torch.tensor([row + new[i].tolist()])).logits[0, -4:]
        assert torch.allclose(torch.cat([read[i : i + 1], first[i], rest[i]]), whole, atol=2e-3)


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
    # A hook that doubles what the map gives: fused weights would not know of it.
    handle = linear.register_forward_hook(lambda _module, _inputs, output: 2 * output)
    assert not can_fuse(model.model)
    hooked = model.generate(PROMPTS[:1], Sampling(max_new_tokens=8))[0].text
    assert hooked != after
    assert hooked == by_library(model).generate(PROMPTS[:1], Sampling(max_new_tokens=8))[0].text
    handle.remove()
    assert can_fuse(model.model)
    assert model.generate(PROMPTS[:1], Sampling(max_new_tokens=8))[0].text == after


def test_gemma_decodes_by_the_library_s_layers(tokenizer: PreTrainedTokenizerBase) -> None:
    assert not can_fuse(tiny_model("gemma", tokenizer).model)


def test_cancelling_stops_between_guesses(model: LocalModel) -> None:
    cancel = threading.Event()
    stream = model.stream(PROMPTS[:1], Sampling(max_new_tokens=50), cancel=cancel)
    held = 0
    for snapshot in stream:
        held = snapshot[0].tokens
        if held >= 3:
            cancel.set()
            break
    rest = list(stream)
    assert {s[0].tokens for s in rest} == {held}, "not a token more, though some were decoded"
    assert rest[-1][0].finish == "cancelled"


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
