"""A model whose answers and scores are looked up before they are computed.

Wraps any `Generator`. What it is asked with the same prompt, sampling and seed, or with the same
choices, is computed once and kept in the store; judges ask the same question again whenever a study
is repeated or widened.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prism_core.models.generator import Generator, Prompts, Seed, seeds_of
from prism_core.progress import Cancel
from prism_core.storage import Store, completion_key, score_key
from prism_core.types import ChoiceScore, Completion, Sampling


class CachedModel:
    """A `Generator` in front of another one."""

    def __init__(self, model: Generator, store: Store) -> None:
        self.model, self.store = model, store
        self.name, self.fingerprint = model.name, model.fingerprint
        self.has_system_role = model.has_system_role
        # Earlier versions scored choices at endpoints without the model's chat template.
        self._mode = "chat" if model.fingerprint.startswith("remote-") else ""

    def generate(
        self, prompts: Prompts, sampling: Sampling, seed: Seed = 0, *, cancel: Cancel = None
    ) -> list[Completion]:
        """Answer every prompt, from the store where it can."""
        seeds = seeds_of(seed, len(prompts))
        keys = [
            completion_key(self.fingerprint, prompt, sampling, one)
            for prompt, one in zip(prompts, seeds, strict=True)
        ]
        known = self.store.get_completions(keys)
        missing = [i for i, key in enumerate(keys) if key not in known]
        if missing:
            answers = self.model.generate(
                [prompts[i] for i in missing], sampling, [seeds[i] for i in missing], cancel=cancel
            )
            found = {keys[i]: answer for i, answer in zip(missing, answers, strict=True)}
            self.store.put_completions(found)
            known |= found
        return [known[key] for key in keys]

    def stream(
        self, prompts: Prompts, sampling: Sampling, seed: Seed = 0, *, cancel: Cancel = None
    ) -> Iterator[list[Completion]]:
        """Yield answers as the model writes them, uncached."""
        return self.model.stream(prompts, sampling, seed, cancel=cancel)

    def score_choices(
        self, prompts: Prompts, choices: Sequence[Sequence[str]], *, cancel: Cancel = None
    ) -> list[list[ChoiceScore]]:
        """Return each choice's log-likelihood, from the store where it can."""
        keys = [
            score_key(self.fingerprint, prompt, row, self._mode)
            for prompt, row in zip(prompts, choices, strict=True)
        ]
        known = self.store.get_scores(keys)
        missing = [i for i, key in enumerate(keys) if key not in known]
        if missing:
            rows = self.model.score_choices(
                [prompts[i] for i in missing], [choices[i] for i in missing], cancel=cancel
            )
            found = {keys[i]: row for i, row in zip(missing, rows, strict=True)}
            self.store.put_scores(found)
            known |= found
        return [known[key] for key in keys]
