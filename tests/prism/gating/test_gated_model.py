"""Gated inference: closed is the base to the bit, open is PEFT, mixed is each row alone."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from support.engine_parts import answers, by_library, is_fused, random_lora
from support.gated_parts import save_random_lora
from support.tiny_models import TINY_CONFIGS, tiny_model
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from prism_core.errors import InputError, ModelError
from prism_core.inference.cpu.fused_llama import FusedDecoder
from prism_core.inference.cpu.fused_lora import FusedLora, fused_lora
from prism_core.inference.kv_cache import is_mergeable, new_cache
from prism_core.inference.padding import pad_left
from prism_core.inference.prefill import _by_width, active_adapters, prefill
from prism_core.lora.weights import LoraPair, LoraWeights
from prism_core.models.chat import encode_prompt
from prism_core.models.generator import Generator, TokenScorer
from prism_core.models.local import LocalModel
from prism_core.prism.gating.gate import Gate, read_features
from prism_core.prism.gating.gated_model import GatedModel
from prism_core.types import GateMode, Message, Prompt, Sampling

QUESTIONS = ("Tell me of the sea.", "2 + 2?", "Name a flightless bird.", "Why is the sky blue?")
PROMPTS: list[Prompt] = [(Message("user", q),) for q in QUESTIONS]
SHORT = Sampling(max_new_tokens=8)
KINDS = sorted(TINY_CONFIGS)
FUSED = [kind for kind in KINDS if kind in ("llama", "qwen2")]
"""Those that decode by fused steps; the others decode by the library's layers."""
fused_kinds = pytest.mark.parametrize("pair", FUSED, indirect=True)


@pytest.fixture(scope="module", params=KINDS)
def pair(
    request: pytest.FixtureRequest,
    tokenizer: PreTrainedTokenizerBase,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[GatedModel, Path]:
    """A tiny gated model of each kind and its adapter's folder."""
    base = tiny_model(request.param, tokenizer)
    folder = tmp_path_factory.mktemp(request.param)
    save_random_lora(base, folder)
    torch.manual_seed(5)
    gate = Gate(base.model.config.hidden_size, "last").eval().requires_grad_(False)
    features = read_features(base.model, [encode_prompt(tokenizer, p) for p in PROMPTS], "last")
    gate.mean, gate.spread = features.mean(0), features.std(0) + 1e-6
    middle = float(gate(features).sort().values[1:3].mean())  # two rows open, two closed
    return GatedModel(base, LoraWeights.load(folder, base.model), gate, threshold=middle), folder


def rows_of(model: GatedModel) -> list[list[int]]:
    return [encode_prompt(model.base.tokenizer, p) for p in PROMPTS]


def adapters_of(model: GatedModel, mode: GateMode) -> list[LoraWeights | None]:
    readings = model.readings_of(rows_of(model), mode)
    return [model.lora if reading.is_open else None for reading in readings]


@torch.inference_mode()
def logits_of(model: GatedModel, mode: GateMode) -> torch.Tensor:
    return prefill(model.base.model, rows_of(model), adapters_of(model, mode))[0]


def test_it_is_a_generator_and_a_token_scorer(pair: tuple[GatedModel, Path]) -> None:
    assert isinstance(pair[0], Generator)
    assert isinstance(pair[0], TokenScorer)


def test_closed_equals_the_base_to_the_bit(pair: tuple[GatedModel, Path]) -> None:
    model, _ = pair
    with torch.inference_mode():
        base, _, _ = prefill(model.base.model, rows_of(model))
    assert torch.equal(logits_of(model, "closed"), base)
    closed = model.generate(PROMPTS, SHORT, gates="closed")
    assert [c.text for c in closed] == [c.text for c in model.base.generate(PROMPTS, SHORT)]
    assert not any(c.gate.is_open for c in closed if c.gate)


def test_open_equals_peft(pair: tuple[GatedModel, Path]) -> None:
    model, folder = pair
    fresh = AutoModelForCausalLM.from_config(model.base.model.config)
    fresh.load_state_dict(model.base.model.state_dict())
    peft = PeftModel.from_pretrained(fresh, folder).eval()
    ids, mask = pad_left(rows_of(model), torch.device("cpu"))
    with torch.inference_mode():
        theirs = peft(
            input_ids=ids, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0)
        ).logits[:, -1]
    ours = logits_of(model, "open")
    assert torch.allclose(ours, theirs, atol=1e-4)
    assert not torch.allclose(ours, logits_of(model, "closed"), atol=1e-2), "the adapter does act"


def greedy_ids(model: GatedModel, mode: GateMode, fused: bool) -> list[list[int]]:
    """Sixteen greedy tokens of each row, by fused steps or by the library's."""
    base = model.base if fused else by_library(model.base)
    assert is_fused(base) is fused
    sampling = Sampling(max_new_tokens=16)
    return answers(base, rows_of(model), sampling, adapters=adapters_of(model, mode))


@pytest.mark.parametrize("kind", KINDS)
def test_which_kinds_decode_by_fused_steps(tokenizer: PreTrainedTokenizerBase, kind: str) -> None:
    assert is_fused(tiny_model(kind, tokenizer)) is (kind in FUSED)


@fused_kinds
@pytest.mark.parametrize("mode", ["open", "auto"])
def test_fused_steps_write_what_the_library_s_write(
    pair: tuple[GatedModel, Path], mode: GateMode
) -> None:
    fused = greedy_ids(pair[0], mode, fused=True)
    assert fused == greedy_ids(pair[0], mode, fused=False)
    closed = greedy_ids(pair[0], "closed", fused=True)
    adapters = adapters_of(pair[0], mode)
    for row, plain, adapter in zip(fused, closed, adapters, strict=True):
        assert (row == plain) is (adapter is None), "the adapter acts, and on open rows alone"


@fused_kinds
@torch.inference_mode()
def test_fused_steps_write_what_peft_writes(pair: tuple[GatedModel, Path]) -> None:
    model, folder = pair
    fresh = AutoModelForCausalLM.from_config(model.base.model.config)
    fresh.load_state_dict(model.base.model.state_dict())
    peft = PeftModel.from_pretrained(fresh, folder).eval()
    for row, ours in zip(rows_of(model), greedy_ids(model, "open", fused=True), strict=True):
        ids = list(row)
        for _ in ours:
            ids.append(int(peft(torch.tensor([ids])).logits[0, -1].argmax()))
        assert ids[len(row) :] == ours


@fused_kinds
@pytest.mark.parametrize("part", ["_proj", "v_proj", "up_proj", "layers.2"])
@torch.inference_mode()
def test_fused_passes_update_the_open_rows_alone(pair: tuple[GatedModel, Path], part: str) -> None:
    model, _ = pair
    base, opened = model.base.model, torch.tensor([True, False, False, True])
    lora = LoraWeights({path: p for path, p in model.lora.pairs.items() if part in path})
    laid_out = fused_lora(lora, base)
    assert laid_out is not None
    decoder, new = FusedDecoder(base), torch.tensor([[7, 8], [9, 10], [11, 12], [13, 14]])
    rows = rows_of(model)
    lengths = torch.tensor([len(row) for row in rows])

    def logits(is_open: torch.Tensor, *, draft: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of reading the rows, and of a step of two tokens behind them."""
        adapters: list[FusedLora | None] = [laid_out if one else None for one in is_open]
        cache = decoder.new_cache()
        read = decoder.read(cache, 0, rows, [0] * 4, adapters)
        return read, decoder.step(cache, new, lengths, adapters, draft=draft)

    all_open, none = torch.ones(4, dtype=torch.bool), torch.zeros(4, dtype=torch.bool)
    for mixed, plain, with_all in zip(logits(opened), logits(none), logits(all_open), strict=True):
        assert torch.equal(mixed[~opened], plain[~opened]), "closed rows keep the base to the bit"
        assert torch.allclose(mixed[opened], with_all[opened], atol=1e-4)
        assert not torch.allclose(mixed[opened], plain[opened], atol=1e-3)
    read, cache, mask = prefill(base, rows, [lora] * 4)
    with lora.active(base):
        whole = base(
            new,
            attention_mask=torch.cat([mask, mask.new_ones(4, 2)], dim=1),
            position_ids=mask.sum(1, keepdim=True) + torch.arange(2),
            past_key_values=cache,
        ).logits
    for ours, theirs in zip(logits(all_open), (read, whole), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-3)
    if part == "_proj":  # guesses have the adapter too
        cache = decoder.new_cache()
        adapters: list[FusedLora | None] = [laid_out if one else None for one in opened]
        decoder.read(cache, 0, rows, [0] * 4, adapters)
        exact = decoder.step(cache, new, lengths, adapters)
        gap = (decoder.step(cache, new, lengths, adapters, draft=True) - exact)[opened].std()
        bare = decoder.step(cache, new, lengths, [None] * 4, draft=True)
        assert gap < (bare - exact)[opened].std()


def test_an_adapter_outside_the_layers_takes_the_library_s_steps(
    pair: tuple[GatedModel, Path],
) -> None:
    model, _ = pair
    base, rows, sampling = model.base, rows_of(model), Sampling(max_new_tokens=8)
    size, words = base.model.config.hidden_size, base.model.config.vocab_size
    random = torch.Generator().manual_seed(1)
    down, up = torch.randn(4, size, generator=random), torch.randn(words, 4, generator=random)
    head = LoraWeights({"lm_head": LoraPair(down, up, 1.0)})
    assert fused_lora(head, base.model) is None
    written = answers(base, rows, sampling, adapters=[head, None] * 2)
    assert written == answers(by_library(base), rows, sampling, adapters=[head, None] * 2)
    plain = answers(base, rows, sampling)
    assert [a == b for a, b in zip(written, plain, strict=True)] == [False, True] * 2


def test_rows_of_one_batch_name_different_adapters(pair: tuple[GatedModel, Path]) -> None:
    model, _ = pair
    base, rows, sampling = model.base, rows_of(model), Sampling(max_new_tokens=12)
    used = [model.lora, None, random_lora(base, seed=8), random_lora(base, 9, ["q_proj"])]
    together = answers(base, rows, sampling, adapters=used)
    for i, adapter in enumerate(used):
        alone = answers(base, [rows[i]], sampling, [i], adapters=[adapter])
        assert together[i] == alone[0]
        bare = answers(base, [rows[i]], sampling, [i])
        assert (together[i] == bare[0]) is (adapter is None)


def test_a_mixed_batch_equals_each_row_alone(pair: tuple[GatedModel, Path]) -> None:
    model, _ = pair
    together = model.generate(PROMPTS, SHORT)
    opened = [c.gate.is_open for c in together if c.gate]
    assert sorted(opened) == [False, False, True, True]
    for prompt, answer, is_open in zip(PROMPTS, together, opened, strict=True):
        alone = model.generate([prompt], SHORT, gates="open" if is_open else "closed")[0]
        assert answer.text == alone.text
        assert answer.gate and alone.gate
        assert answer.gate.probability == pytest.approx(alone.gate.probability, abs=1e-5)


def test_rows_of_different_lengths_keep_their_own_gates(pair: tuple[GatedModel, Path]) -> None:
    model, _ = pair
    long = [(Message("user", "Tell me all about the sea. " * 12 + q),) for q in QUESTIONS[:2]]
    prompts: list[Prompt] = [PROMPTS[0], long[0], PROMPTS[1], long[1]]
    rows = [encode_prompt(model.base.tokenizer, p) for p in prompts]
    assert len(_by_width([len(row) for row in rows])) == 2
    read = model.generate(prompts, SHORT)
    said = [c.gate.probability for c in read if c.gate]
    assert said == pytest.approx(model.probabilities(prompts), abs=1e-5)
    modes: list[GateMode] = ["open", "closed", "closed", "open"]
    for prompt, mode, c in zip(
        prompts, modes, model.generate(prompts, SHORT, gates=modes), strict=True
    ):
        assert c.gate and c.gate.is_open is (mode == "open")
        assert c.text == model.generate([prompt], SHORT, gates=mode)[0].text


@torch.inference_mode()
def test_closed_rows_of_a_mixed_batch_keep_the_base_to_the_bit(
    pair: tuple[GatedModel, Path],
) -> None:
    model, _ = pair
    base, rows = model.base.model, rows_of(model)
    adapters = adapters_of(model, "auto")
    closed = [i for i, adapter in enumerate(adapters) if adapter is None]
    assert len(closed) == 2
    mixed, _, _ = prefill(base, rows, adapters)
    # Rows of one adapter are read apart, so the closed ones are read as if they were alone.
    plain, _, _ = prefill(base, rows if is_one_pass(model) else [rows[i] for i in closed])
    assert torch.equal(mixed[closed], plain[closed] if is_one_pass(model) else plain)
    whole, _, _ = prefill(base, rows)
    for i, adapter in enumerate(adapters):
        assert torch.allclose(mixed[i], whole[i], atol=1e-4) is (adapter is None)
    # A step of decoding is one pass over rows of both kinds.
    ids, mask = pad_left(rows, torch.device("cpu"))
    step = {
        "input_ids": ids,
        "attention_mask": mask,
        "position_ids": (mask.cumsum(1) - 1).clamp(min=0),
    }
    bare = base(**step).logits[:, -1]
    with active_adapters(base, adapters):
        both = base(**step).logits[:, -1]
    for i, adapter in enumerate(adapters):
        assert torch.equal(both[i], bare[i]) is (adapter is None)


def is_one_pass(model: GatedModel) -> bool:
    """Tell whether rows of all adapters are read in one pass: caches can't be put together."""
    return not is_mergeable(new_cache(model.base.model.config))


def test_what_is_cancelled_before_the_gate_is_asked_answers_nothing(
    pair: tuple[GatedModel, Path],
) -> None:
    cancel = threading.Event()
    cancel.set()
    cut = pair[0].generate(PROMPTS, SHORT, cancel=cancel)
    assert [(c.finish, c.tokens, c.gate) for c in cut] == [("cancelled", 0, None)] * 4


def test_an_adapter_without_a_gate_is_on_for_every_prompt(pair: tuple[GatedModel, Path]) -> None:
    model, _ = pair
    always = GatedModel(model.base, model.lora, None)
    opened = model.generate(PROMPTS, SHORT, gates="open")
    said = always.generate(PROMPTS, SHORT)
    assert [c.text for c in said] == [c.text for c in opened]
    assert [c.gate for c in said] == [None] * 4


def test_streamed_equals_generated_and_shows_the_gate_from_the_first_token(
    pair: tuple[GatedModel, Path],
) -> None:
    model, _ = pair
    snapshots = list(model.stream(PROMPTS, SHORT))
    assert all(c.gate is not None for c in snapshots[0])
    assert [c.text for c in snapshots[-1]] == [c.text for c in model.generate(PROMPTS, SHORT)]


def test_probabilities_need_only_layer_0_and_agree(pair: tuple[GatedModel, Path]) -> None:
    model, _ = pair
    answers = model.generate(PROMPTS, Sampling(max_new_tokens=1))
    read = [c.gate.probability for c in answers if c.gate]
    assert model.probabilities(PROMPTS) == pytest.approx(read, abs=1e-5)


@pytest.mark.parametrize("mode", ["open", "closed", "auto"])
def test_token_scores_follow_the_gate(pair: tuple[GatedModel, Path], mode: str) -> None:
    model, _ = pair
    answers = ["a bird of the sea", "four", "The kiwi", "Light scatters."]
    together = model.score_tokens(PROMPTS, answers, gates=mode)
    for prompt, answer, line in zip(PROMPTS, answers, together, strict=True):
        alone = model.score_tokens([prompt], [answer], gates=mode)[0]
        assert [t.logprob for t in line] == pytest.approx([t.logprob for t in alone], abs=1e-4)
        choice = model.score_choices([prompt], [[answer]], gates=mode)[0][0]
        assert choice.logprob == pytest.approx(sum(t.logprob for t in line), abs=1e-3)
    if mode == "closed":
        base = model.base.score_tokens(PROMPTS, answers)
        for line, plain in zip(together, base, strict=True):
            assert [t.logprob for t in line] == pytest.approx([t.logprob for t in plain], abs=1e-4)


def test_no_hook_is_left_behind(pair: tuple[GatedModel, Path]) -> None:
    model, _ = pair
    stream = model.stream(PROMPTS, SHORT)
    next(stream)
    stream.close()
    with pytest.raises(InputError):
        model.generate(PROMPTS, Sampling(max_new_tokens=0))
    with model.base.lock:  # not in the middle of a step
        assert not any(m._forward_hooks for m in model.base.model.modules())


def test_a_gate_survives_saving(pair: tuple[GatedModel, Path], tmp_path: Path) -> None:
    model, _ = pair
    model.gate.save(tmp_path)
    again = Gate.load(tmp_path, model.base.model)
    features = torch.randn(5, model.base.model.config.hidden_size)
    assert torch.equal(model.gate(features), again(features))


def test_an_adapter_of_another_shape_is_refused(
    pair: tuple[GatedModel, Path], model: LocalModel
) -> None:
    with pytest.raises(ModelError, match="trained for another base model"):
        LoraWeights.load(pair[1], model.model)
    with pytest.raises(ModelError, match=r"gate\.safetensors cannot be read"):
        Gate.load(pair[1], model.model)


def test_wrong_modes_and_thresholds_are_quoted(pair: tuple[GatedModel, Path]) -> None:
    model, _ = pair
    with pytest.raises(InputError, match="'ajar' is unknown"):
        model.generate(PROMPTS[:1], SHORT, gates=["ajar"])  # type: ignore[list-item]
    with pytest.raises(InputError, match="4 prompts need as many gate modes; 1"):
        model.generate(PROMPTS, SHORT, gates=["open"])
    with pytest.raises(InputError, match=r"threshold is 1\.5"):
        model.with_threshold(1.5)
