"""Fixtures shared by all tests: the real embedded model, and tiny random ones for the maths."""

from __future__ import annotations

import pytest
from tiny_models import tiny_model
from transformers import (
    AutoTokenizer,
    PreTrainedTokenizerBase,
)

from prism_core.models import LocalModel
from prism_core.weights import embedded_folder


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
