"""How often a gate opens on questions from elsewhere: the suite's knowledge questions and requests.

A gate learns on the queries of its own run, and its area under the ROC curve says nothing about
other questions. These come from no run: the embedded `knowledge` and `safety` tasks, asked without
a persona. Reading layer 0 of all of them takes a second or two.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from prism_core.models.chat import encode_prompt
from prism_core.models.local import LocalModel
from prism_core.personas.prompts import build_prompt
from prism_core.prism.gating.gate import Gate, read_features
from prism_core.prism.gating.settings import PAPER_THRESHOLD
from prism_core.stats import rate_of
from prism_core.tasks import get_task
from prism_core.types import Estimate, PromptVariant

ELSEWHERE = {"knowledge": "knowledge questions", "safety": "safety requests"}
"""The tasks that are asked, and what their items are."""


@torch.inference_mode()
def open_rates(gate: Gate, model: LocalModel, threshold: float) -> Mapping[str, Estimate]:
    """Return the shares on which the gate opens, at its threshold and at the paper's, by name."""
    found: dict[str, Estimate] = {}
    for task, noun in ELSEWHERE.items():
        prompts = [
            build_prompt(item.question, PromptVariant(), model.has_system_role)
            for item in get_task(task).load()
        ]
        rows = [encode_prompt(model.tokenizer, prompt) for prompt in prompts]
        with model.lock:
            features = read_features(model.model, rows, gate.feature).clone()
        given = gate(features.to(gate.mean.device))
        for value in dict.fromkeys((threshold, PAPER_THRESHOLD)):
            name = f"Gate opens on {noun} (from {value:.2f})"
            found[name] = rate_of((given >= value).tolist())
    return found
