"""Base, gate and adapter as one `Generator` (PRISM, section 4.4).

1. LoRA sits on layers 1..L-1, so layer 0's output does not depend on it.
2. Layer 0 alone reads the prompts, and the gate says of each how probable it is that the persona
   helps.
3. Prompts above the threshold are answered with the adapter, the others without: each becomes a
   request that names its adapter or none, and all of them are one batch of the base model.
4. A closed request is the base model's own: the same bits in fp32.
5. An adapter without a gate is on for every prompt, and layer 0 is not asked.
Departure from the paper's released code: the second pass ends behind layer 0, at a few hundredths
of a prefill, and whoever can answer with a named adapter may do the rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from prism_core.errors import CancelledError, InputError
from prism_core.inference.rows import Rows
from prism_core.inference.stopping import stoppable
from prism_core.lora.weights import LoraWeights
from prism_core.models.chat import encode_prompt
from prism_core.models.generator import BaseGenerator, Prompts, Request, Seed, last_of, requests_of
from prism_core.models.local import LocalModel
from prism_core.prism.gating.gate import Gate, read_features
from prism_core.prism.gating.settings import PAPER_THRESHOLD
from prism_core.progress import Cancel
from prism_core.types import (
    ChoiceScore,
    Completion,
    GateMode,
    GateReading,
    Prompt,
    Sampling,
    TokenScore,
)

Gates = Sequence[GateMode] | GateMode
"""One gate mode for every prompt, or one a prompt."""


class GatedModel(BaseGenerator):
    """A base model whose adapter opens query by query: `Generator` and `TokenScorer`.

    Without a gate the adapter is on for every prompt, and answers carry no gate reading.
    """

    def __init__(
        self,
        base: LocalModel,
        lora: LoraWeights,
        gate: Gate | None,
        *,
        threshold: float = PAPER_THRESHOLD,
        label: str = "PRISM",
        adapter_hash: str = "",
    ) -> None:
        if not 0.0 <= threshold <= 1.0:
            raise InputError(f"The gate's threshold is {threshold}; it must lie between 0 and 1.")
        self.base, self.lora, self.gate, self.threshold = base, lora, gate, threshold
        self.label = label
        self.adapter_hash = adapter_hash

    @property
    def name(self) -> str:
        """Base and adapter as shown to people."""
        return f"{self.base.name} + {self.label}"

    @property
    def fingerprint(self) -> str:
        """Identity of base, adapter and threshold."""
        threshold = None if self.gate is None else self.threshold
        return gated_fingerprint(self.base.fingerprint, self.adapter_hash, threshold)

    @property
    def has_system_role(self) -> bool:
        """Whether the chat template takes a system turn."""
        return self.base.has_system_role

    def with_threshold(self, threshold: float) -> GatedModel:
        """Return the same parts with another threshold."""
        return GatedModel(
            self.base,
            self.lora,
            self.gate,
            threshold=threshold,
            label=self.label,
            adapter_hash=self.adapter_hash,
        )

    def answer(
        self, requests: Sequence[Request], *, cancel: Cancel = None, gates: Gates = "auto"
    ) -> Iterator[list[Completion]]:
        """Yield all answers so far, each request by its own gate. See `Generator.answer`.

        Raises:
            InputError: as `readings`; or as the base model.
        """
        try:
            readings = self.readings([r.prompt for r in requests], gates, cancel=cancel)
        except CancelledError:
            yield from self.base.answer(requests, cancel=cancel)  # all of them cancelled
            return
        routed = [
            replace(request, adapter=self.lora if reading.is_open else None)
            for request, reading in zip(requests, readings, strict=True)
        ]
        for answers in self.base.answer(routed, cancel=cancel):
            yield [
                replace(answer, gate=reading if self.gate is not None else None)
                for answer, reading in zip(answers, readings, strict=True)
            ]

    def stream(
        self,
        prompts: Prompts,
        sampling: Sampling,
        seed: Seed = 0,
        *,
        cancel: Cancel = None,
        gates: Gates = "auto",
    ) -> Iterator[list[Completion]]:
        """Yield all answers so far. See `answer`."""
        return self.answer(requests_of(prompts, sampling, seed), cancel=cancel, gates=gates)

    def generate(
        self,
        prompts: Prompts,
        sampling: Sampling,
        seed: Seed = 0,
        *,
        cancel: Cancel = None,
        gates: Gates = "auto",
    ) -> list[Completion]:
        """Return the whole answers. See `answer`."""
        return last_of(self.stream(prompts, sampling, seed, cancel=cancel, gates=gates))

    def score_choices(
        self,
        prompts: Sequence[Prompt],
        choices: Sequence[Sequence[str]],
        *,
        cancel: Cancel = None,
        gates: Gates = "auto",
    ) -> list[list[ChoiceScore]]:
        """Return the log-likelihood of each choice, each prompt by its own gate."""
        found: dict[int, list[ChoiceScore]] = {}
        for rows, adapter in self._parts(prompts, gates, cancel):
            asked, offered = [prompts[i] for i in rows], [choices[i] for i in rows]
            scores = self.base.score_choices(asked, offered, cancel=cancel, adapter=adapter)
            found |= dict(zip(rows, scores, strict=True))
        return [found[i] for i in range(len(prompts))]

    def score_tokens(
        self, prompts: Sequence[Prompt], answers: Sequence[str], *, gates: Gates = "auto"
    ) -> list[list[TokenScore]]:
        """Return log p of each token of given answers, each prompt by its own gate."""
        found: dict[int, list[TokenScore]] = {}
        for rows, adapter in self._parts(prompts, gates):
            asked, given = [prompts[i] for i in rows], [answers[i] for i in rows]
            scores = self.base.score_tokens(asked, given, adapter=adapter)
            found |= dict(zip(rows, scores, strict=True))
        return [found[i] for i in range(len(prompts))]

    def probabilities(self, prompts: Sequence[Prompt], *, cancel: Cancel = None) -> list[float]:
        """Return P(persona helps) for each prompt, from layer 0 alone; 1 without a gate.

        Raises:
            CancelledError: `cancel` was set.
        """
        if self.gate is None:
            return [1.0] * len(prompts)
        rows = [encode_prompt(self.base.tokenizer, p) for p in prompts]
        return self.probabilities_of(rows, cancel=cancel)

    def probabilities_of(self, rows: Rows, *, cancel: Cancel = None) -> list[float]:
        """Return P(persona helps) for each token row. See `probabilities`."""
        if not rows or self.gate is None:
            return [1.0] * len(rows)
        with self.base.lock, stoppable(self.base.model, cancel):
            features = read_features(self.base.model, rows, self.gate.feature)
        with torch.inference_mode():
            return [float(p) for p in self.gate(features.to(self.gate.mean.device))]

    def readings(
        self, prompts: Sequence[Prompt], gates: Gates = "auto", *, cancel: Cancel = None
    ) -> list[GateReading]:
        """Read what the gate says of each prompt, and whether its row is open.

        Raises:
            InputError: a gate mode is unknown, or there are not as many as prompts.
            CancelledError: `cancel` was set.
        """
        modes = self._modes(gates, len(prompts))
        return _decided(self.probabilities(prompts, cancel=cancel), modes, self.threshold)

    def readings_of(self, rows: Rows, gates: Gates = "auto") -> list[GateReading]:
        """Read what the gate says of token rows; see `readings`."""
        modes = self._modes(gates, len(rows))
        return _decided(self.probabilities_of(rows), modes, self.threshold)

    def _parts(
        self, prompts: Sequence[Prompt], gates: Gates, cancel: Cancel = None
    ) -> list[tuple[list[int], LoraWeights | None]]:
        """Part the rows into closed and open ones, each with the adapter they are scored with.

        To score given texts, the gate is asked first: each part then reads what its prompts share
        once. Layer 0 costs a thirtieth of what is saved.
        """
        modes = self._modes(gates, len(prompts))
        asked = [i for i, mode in enumerate(modes) if mode == "auto"]
        readings = self.readings([prompts[i] for i in asked], cancel=cancel)
        for i, reading in zip(asked, readings, strict=True):
            modes[i] = "open" if reading.is_open else "closed"
        closed, opened = (
            [i for i, mode in enumerate(modes) if mode == one] for one in ("closed", "open")
        )
        return [part for part in ((closed, None), (opened, self.lora)) if part[0]]

    def _modes(self, gates: Gates, rows: int) -> list[GateMode]:
        """Return one gate mode a row, checked."""
        modes: list[GateMode] = [gates] * rows if isinstance(gates, str) else list(gates)
        if len(modes) != rows:
            raise InputError(f"{rows} prompts need as many gate modes; {len(modes)} were given.")
        for mode in modes:
            if mode not in ("auto", "open", "closed"):
                raise InputError(f"The gate mode '{mode}' is unknown; use auto, open or closed.")
        if self.gate is None and "closed" in modes:
            raise InputError(f"{self.name} has no gate, so it cannot be held closed.")
        return modes


def gated_fingerprint(base: str, adapter_hash: str, threshold: float | None) -> str:
    """Return the fingerprint of base and adapter; the threshold is None where there is no gate."""
    rule = "always" if threshold is None else threshold
    return hashlib.sha256(f"{base} {adapter_hash} {rule}".encode()).hexdigest()[:16]


def _decided(
    probabilities: Sequence[float], modes: Sequence[GateMode], threshold: float
) -> list[GateReading]:
    return [
        GateReading(p, p >= threshold if mode == "auto" else mode == "open")
        for p, mode in zip(probabilities, modes, strict=True)
    ]
