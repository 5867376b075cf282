"""Adapters that somebody made to do harm, or that a broken disk made: each ends in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save_file
from support.hostile_files import (
    Case,
    Files,
    broken_json,
    broken_safetensors,
    escapes,
    odd_fields,
    odd_tensors,
)

from prism_core.lora.files import CONFIG_FILE, WEIGHTS_FILE
from prism_core.models.local import LocalModel
from prism_core.prism.bundle import identify, load_bundle
from prism_core.prism.bundle_files import INFO_FILE, BundleInfo, write_info
from prism_core.prism.distillation.checkpoints import (
    CHECKPOINT_FILE,
    Position,
    load_checkpoint,
    save_checkpoint,
)
from prism_core.prism.gating.gate import Gate
from prism_core.prism.gating.settings import GATE_FILE
from prism_core.types import Message, Sampling

HELLO = ((Message("user", "Hello"),),)


@pytest.fixture(scope="module")
def sound(tiny: LocalModel, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The files of an adapter of rank 4 that works."""
    folder = tmp_path_factory.mktemp("sound")
    torch.manual_seed(0)
    names = [f"base_model.model.model.layers.{i}.self_attn.q_proj" for i in (1, 2)]
    downs = {f"{name}.lora_A.weight": torch.randn(4, 32) * 0.1 for name in names}
    ups = {f"{name}.lora_B.weight": torch.randn(32, 4) * 0.1 for name in names}
    save_file({**downs, **ups}, folder / WEIGHTS_FILE)
    plain = {"use_rslora": False, "use_dora": False, "rank_pattern": {}, "alpha_pattern": {}}
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, **plain}
    (folder / CONFIG_FILE).write_text(json.dumps(config))
    Gate(32, "last").save(folder)
    write_info(folder, BundleInfo("Sound", identify(tiny), settings={"a": 1}))
    load_and_answer(folder, tiny)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def load_and_answer(folder: Path, base: LocalModel) -> None:
    """Load an adapter and let it answer, gate open."""
    model = load_bundle(folder, base, threshold=0.0)
    for _ in model.stream(list(HELLO), Sampling(max_new_tokens=1, temperature=0.0), [0]):
        pass


def check(cases: list[Case], tmp_path: Path, tiny: LocalModel, least: int) -> None:
    found, count = escapes(cases, tmp_path, lambda folder: load_and_answer(folder, tiny))
    assert found == [] and count >= least


def test_every_broken_description_is_a_sentence(
    sound: Files, tmp_path: Path, tiny: LocalModel
) -> None:
    cases = [case for name in (CONFIG_FILE, INFO_FILE) for case in broken_json(name, sound)]
    cases += [case for name in (CONFIG_FILE, INFO_FILE) for case in odd_fields(name, sound)]
    check(cases, tmp_path, tiny, 300)


@pytest.mark.parametrize("name", [WEIGHTS_FILE, GATE_FILE])
def test_every_broken_file_of_tensors_is_a_sentence(
    name: str, sound: Files, tmp_path: Path, tiny: LocalModel
) -> None:
    metadata = {"feature": "last", "format": "pt"}
    cases = [*odd_tensors(name, sound, load(sound[name]), metadata)]
    cases += broken_safetensors(name, sound)
    check(cases, tmp_path, tiny, 90)


def test_a_checkpoint_that_does_not_fit_is_begun_anew(tmp_path: Path) -> None:
    """Its digest may be right; what does not fit is no part of this run."""
    params = {"a": torch.nn.Parameter(torch.ones(3, 2)), "b": torch.nn.Parameter(torch.ones(4))}
    optimizer = torch.optim.AdamW(params.values())
    for parameter in params.values():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    save_checkpoint(tmp_path, params, optimizer, Position(7, {"x": 1}), "d")
    files = {CHECKPOINT_FILE: (tmp_path / CHECKPOINT_FILE).read_bytes()}
    header = {"digest": "d", "step": "7", "notes": "{}"}
    cases = [*odd_tensors(CHECKPOINT_FILE, files, load(files[CHECKPOINT_FILE]), header)]
    cases += broken_safetensors(CHECKPOINT_FILE, files)
    before = {name: p.detach().clone() for name, p in params.items()}

    def load_it(folder: Path) -> None:
        fresh = torch.optim.AdamW(params.values())
        assert load_checkpoint(folder, params, fresh, "d") is None
        assert all(torch.equal(before[name], p) for name, p in params.items())

    odd = [Case(case.name, case.files, may_load=True) for case in cases]
    skipped = ("foreign", "noise", "is missing")  # what these leave may be a whole checkpoint
    odd = [case for case in odd if not any(word in case.name for word in skipped)]
    found, count = escapes(odd, tmp_path, load_it)
    assert found == [] and count > 70
    assert load_checkpoint(tmp_path, params, optimizer, "d") == Position(7, {"x": 1})
