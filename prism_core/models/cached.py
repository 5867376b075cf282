"""A model whose answers and scores are looked up before they are computed.

Wraps any `Generator`. What it is asked with the same prompt, sampling and seed, or with the same
choices, is computed once and kept in the store; judges ask the same question again whenever a study
is repeated or widened.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prism_core.errors import InputError
from prism_core.models.generator import BaseGenerator, Generator, Prompts, Request
from prism_core.progress import Cancel
from prism_core.storage import Store, completion_key, score_key
from prism_core.types import ChoiceScore, Completion


class CachedModel(BaseGenerator):
    """A `Generator` in front of another one."""

    def __init__(self, model: Generator, store: Store) -> None:
        self.model, self.store = model, store
        self.name, self.fingerprint = model.name, model.fingerprint
        self.has_system_role = model.has_system_role
        # Earlier versions scored choices at endpoints without the model's chat template.
        self._mode = "chat" if model.fingerprint.startswith("remote-") else ""

    def answer(
        self, requests: Sequence[Request], *, cancel: Cancel = None
    ) -> Iterator[list[Completion]]:
        """Yield all answers so far, those in the store at once.

        Raises:
            InputError: a request names an adapter, of which the store's keys know nothing.
        """
        if any(request.adapter is not None for request in requests):
            raise InputError("Answers with an adapter are not kept; wrap the gated model instead.")
        keys = [completion_key(self.fingerprint, r.prompt, r.sampling, r.seed) for r in requests]
        known = self.store.get_completions(keys)
        missing = [i for i, key in enumerate(keys) if key not in known]
        answers: list[Completion] = []
        for answers in self.model.answer([requests[i] for i in missing], cancel=cancel):
            known |= {keys[i]: answer for i, answer in zip(missing, answers, strict=True)}
            yield [known[key] for key in keys]
        self.store.put_completions({keys[i]: known[keys[i]] for i in missing})
        if not answers:
            yield [known[key] for key in keys]

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
