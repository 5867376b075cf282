"""Model folders, GGUF files and chat templates that are not what they say: each is a sentence."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from support.hostile_files import Case, Files, broken_json, broken_safetensors, escapes, odd_fields
from tokenizers import Tokenizer
from tokenizers.models import BPE
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from prism_core.models.local import LocalModel
from prism_core.types import Message, Sampling

LETTERS = ["<s>", "</s>", "<unk>", *map(chr, range(32, 127)), "ab"]
TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
SIZES = """num_attention_heads num_hidden_layers hidden_size num_key_value_heads vocab_size head_dim
intermediate_size max_position_embeddings model_type architectures rms_norm_eps hidden_act"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRISM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("PRISM_PUBLIC", raising=False)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The files of a two-layer model that reads letters."""
    folder = tmp_path_factory.mktemp("sound")
    vocabulary = {token: number for number, token in enumerate(LETTERS)}
    letters = Tokenizer(BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=letters, **names)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(LETTERS),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        bos_token_id=0,
        eos_token_id=1,
        tie_word_embeddings=True,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    load_and_answer(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def load_and_answer(path: Path) -> None:
    model = LocalModel.load(str(path))
    prompt = (Message("user", "Hello"),)
    for _ in model.stream([prompt], Sampling(max_new_tokens=1, temperature=0.0), [0]):
        pass


def test_every_broken_folder_is_a_sentence(sound: Files, tmp_path: Path) -> None:
    cases = [*broken_json("config.json", sound), *broken_json("tokenizer.json", sound)]
    cases += odd_fields("config.json", sound, [(name,) for name in SIZES.split()])
    cases += broken_safetensors("model.safetensors", sound)
    found, count = escapes(cases, tmp_path, load_and_answer)
    assert found == [] and count > 250


def test_settings_that_only_help_may_be_broken(sound: Files, tmp_path: Path) -> None:
    """Without them the model's own defaults hold."""
    cases = [
        Case(case.name, case.files, may_load=True)
        for name in ("generation_config.json", "tokenizer_config.json")
        for case in broken_json(name, sound)
    ]
    found, count = escapes(cases, tmp_path, load_and_answer)
    assert found == [] and count > 30


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}",
        "{{ messages[0]['content'] / 0 }}",
        "{{ 1 / 0 }}",
        "{{ raise_exception('no') }}",
        "{{ messages[99]['content'] }}",
        "{{ nothing.at.all }}",
        "{{ 'x' * 10 ** 12 }}",
        "{% for i in range(10 ** 9) %}x{% endfor %}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% include 'file' %}",
        "the same for every question",
        "",
        "{{",
        "{% set x = 1",
    ],
)
def test_a_broken_chat_template_is_a_sentence(template: str, sound: Files, tmp_path: Path) -> None:
    files = {**sound, "chat_template.jinja": template.encode()}
    found, _ = escapes([Case(template, files, may_load=False)], tmp_path, load_and_answer)
    assert found == []


# --- GGUF -------------------------------------------------------------------------------------

WIDTH = 64
METADATA: Mapping[str, object] = {
    "llama.block_count": 2,
    "llama.context_length": 64,
    "llama.embedding_length": WIDTH,
    "llama.feed_forward_length": WIDTH,
    "llama.attention.head_count": 2,
    "llama.attention.head_count_kv": 2,
    "llama.rope.dimension_count": 32,
    "llama.vocab_size": len(LETTERS),
}
SHAPES: Mapping[str, tuple[int, ...]] = {
    "token_embd.weight": (len(LETTERS), WIDTH),
    "output_norm.weight": (WIDTH,),
    **{
        f"blk.{layer}.{name}.weight": (WIDTH, WIDTH)
        for layer in range(2)
        for name in ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]
    },
    **{f"blk.{i}.{name}_norm.weight": (WIDTH,) for i in range(2) for name in ("attn", "ffn")},
}


def write_gguf(
    path: Path, metadata: Mapping[str, object] = METADATA, shapes: Mapping[str, tuple] = SHAPES
) -> bytes:
    """Write a GGUF model and return its bytes."""
    writer = gguf.GGUFWriter(path, "llama")
    for key, value in metadata.items():
        kind = gguf.GGUFValueType.get_type(value)
        if kind == gguf.GGUFValueType.INT32 and value >= 0:
            kind = gguf.GGUFValueType.UINT32 if value < 2**32 else gguf.GGUFValueType.UINT64
        writer.add_key_value(key, value, kind)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(LETTERS)
    writer.add_token_types([1] * len(LETTERS))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    numbers = np.random.default_rng(0)
    for name, shape in shapes.items():
        writer.add_tensor(name, numbers.standard_normal(shape).astype(np.float32) * 0.1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def damaged(good: bytes) -> Iterator[Case]:
    """Yield a GGUF file cut off, with wrong counts, and with noise in its header."""
    for keep in (0, 1, 4, 8, 16, 24, 40, 100, 400, 1_000, 2_000, len(good) // 2, len(good) - 1):
        yield Case(f"ends after {keep} bytes", {"m.gguf": good[:keep]})
    for place, size, what in ((4, 4, "version"), (8, 8, "tensors"), (16, 8, "entries")):
        for number in (0, 1, 100_001, 2**31, 2**32 - 1, 2**63, 2**64 - 1):
            told = struct.pack("<Q", number)[:size]
            content = good[:place] + told + good[place + size :]
            yield Case(f"tells {number} as {what}", {"m.gguf": content}, told == good[4:8])
    rng = random.Random(0)
    for number in range(60):
        noise = bytearray(good)
        for _ in range(4):
            noise[rng.randrange(3_000)] = rng.randrange(256)
        yield Case(f"noise {number}", {"m.gguf": bytes(noise)}, True)


def test_every_broken_gguf_file_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    good = write_gguf(path)
    load_and_answer(path)
    cases = list(damaged(good))
    for key in METADATA:
        for value in (0, -1, 3, 2**31, 2**40, "x", 1.5, True, [1, 2]):
            content = write_gguf(path, {**METADATA, key: value})
            cases.append(Case(f"{key} = {value}", {"m.gguf": content}, True))
        rest = {name: value for name, value in METADATA.items() if name != key}
        cases.append(Case(f"lacks {key}", {"m.gguf": write_gguf(path, rest)}, True))
    _, *others = SHAPES
    wrong = {"blk.0.attn_q.weight": (32, WIDTH)}
    for what, shapes in (
        ("no tensors", {}),
        ("no embedding", {name: SHAPES[name] for name in others}),
        ("another shape", {**SHAPES, **wrong}),
    ):
        cases.append(Case(what, {"m.gguf": write_gguf(path, METADATA, shapes)}))
    found, count = escapes(cases, tmp_path, lambda folder: load_and_answer(folder / "m.gguf"))
    assert found == [] and count > 170


def test_a_folder_of_sound_files_loads(sound: Files, tmp_path: Path) -> None:
    assert escapes([Case("sound", sound, may_load=True)], tmp_path, load_and_answer) == ([], 1)
    assert json.loads(sound["config.json"])["num_hidden_layers"] == 2
