"""Fixtures shared by all tests: the real embedded model, and tiny random ones for the maths.

`make test` runs two workers, a file at a time each; with a browser file goes an app of its own.
"""

from __future__ import annotations

import os

import pytest
import torch
from support.tiny_models import tiny_model
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from prism_core.models.embedded import embedded_folder
from prism_core.models.local import LocalModel


def pytest_configure(config: pytest.Config) -> None:
    """Let workers that run side by side share the processors, and what they start as well."""
    if hasattr(config, "workerinput"):
        each = max(1, (os.cpu_count() or 1) // config.workerinput["workercount"])
        os.environ.setdefault("OMP_NUM_THREADS", str(each))
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(embedded_folder(verify=False), local_files_only=True)


@pytest.fixture(scope="session")
def model() -> LocalModel:
    """The real embedded model; tests leave it as they found it."""
    return LocalModel.load("embedded")


@pytest.fixture(scope="session")
def tiny(tokenizer: PreTrainedTokenizerBase) -> LocalModel:
    return tiny_model("llama", tokenizer)
