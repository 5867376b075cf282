"""Answers that need not be computed again: looked up and kept by all that determines them.

An answer's key covers the model's fingerprint (adapter and threshold with it), the prompt, the
sampling and the seed, so a study that is repeated or widened pays only for what is new. A
conversation is in the cache as far as each of its turns is. Beside a choice's scores stands what
was read before them: the prompt's tokens and the gate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prism_core.prism.gating.gated_model import gated_fingerprint
from prism_core.storage import Store, completion_key, score_key
from prism_core.study.batches import Batch, Request
from prism_core.study.cells import Cell
from prism_core.study.choice_scoring import ChoiceScores
from prism_core.study.engine import ModelFacts, Response, first_prompt, next_prompt, row_seed
from prism_core.types import ChoiceScore, Completion, Prompt, Sampling

FORMAT = "1"
"""Raised when the wording of choice prompts changes."""


class AnswerCache:
    """One store's cache, as a study uses it."""

    def __init__(self, store: Store, facts: ModelFacts, sampling: Sampling) -> None:
        """Look up one model's answers.

        Args:
            store: where they are.
            facts: who answers; the model itself need not be loaded.
            sampling: how tokens are drawn.
        """
        self._store, self._facts, self._sampling = store, facts, sampling
        self._names = {one.reference: one.fingerprint for one in facts.adapters}

    def find(self, batch: Batch) -> dict[int, Response]:
        """Return those of a batch's requests that are known, by their place in it."""
        return self._find_choices(batch) if batch.kind == "choice" else self._find_texts(batch)

    def keep(self, batch: Batch, responses: Mapping[int, Response]) -> None:
        """Keep what was computed, in one transaction."""
        if batch.kind == "choice":
            self._keep_choices(batch, responses)
            return
        found: dict[str, Completion] = {}
        for i, response in responses.items():
            request = batch.requests[i]
            prompt = self._prompt(request)
            for turn, answer in enumerate(response.turns):
                found[self._key(request, prompt)] = answer
                if turn < len(request.item.follow_ups):
                    prompt = next_prompt(prompt, answer.text, request.item.follow_ups[turn])
        self._store.put_completions(found)

    def _find_texts(self, batch: Batch) -> dict[int, Response]:
        prompts = {i: self._prompt(request) for i, request in enumerate(batch.requests)}
        turns: dict[int, list[Completion]] = {i: [] for i in prompts}
        places, turn = list(prompts), 0
        while places:
            keys = {i: self._key(batch.requests[i], prompts[i]) for i in places}
            known = self._store.get_completions(keys.values())
            places = [i for i in places if keys[i] in known]
            for i in places:
                turns[i].append(known[keys[i]])
            places = [i for i in places if turn < len(batch.requests[i].item.follow_ups)]
            for i in places:
                question = batch.requests[i].item.follow_ups[turn]
                prompts[i] = next_prompt(prompts[i], turns[i][-1].text, question)
            turn += 1
        wanted = {i: 1 + len(batch.requests[i].item.follow_ups) for i in prompts}
        return {i: Response(tuple(had)) for i, had in turns.items() if len(had) == wanted[i]}

    def _keep_choices(self, batch: Batch, responses: Mapping[int, Response]) -> None:
        keys = self._choice_keys(batch)
        rows: dict[str, list[ChoiceScore]] = {}
        read: dict[str, Completion] = {}
        for (scored, asked), choice in ((keys[i], r.choice) for i, r in responses.items()):
            if choice is not None:
                pairs = zip(choice.logprobs, choice.tokens, strict=True)
                rows[scored] = [ChoiceScore(value, count) for value, count in pairs]
                read[asked] = Completion(
                    "", prompt_tokens=choice.prompt_tokens, finish="stop", gate=choice.gate
                )
        self._store.put_completions(read)
        self._store.put_scores(rows)

    def _find_choices(self, batch: Batch) -> dict[int, Response]:
        keys = self._choice_keys(batch)
        known = self._store.get_scores(key for key, _ in keys)
        read = self._store.get_completions(key for _, key in keys)
        return {
            i: Response(choice=_scores(known[scored], read[asked]))
            for i, (scored, asked) in enumerate(keys)
            if scored in known and asked in read
        }

    def _choice_keys(self, batch: Batch) -> list[tuple[str, str]]:
        """Return two keys a request: of its choices' scores, and of what was read before them."""
        mode = f"{self._facts.scoring}/{FORMAT}"
        keys = []
        for request in batch.requests:
            who, prompt = self._who(request.cell), self._prompt(request)
            scored = score_key(who, prompt, request.item.choices, mode)
            reading = f"{mode} {scored}"
            keys.append((scored, completion_key(who, prompt, self._sampling, 0, mode=reading)))
        return keys

    def _key(self, request: Request, prompt: Prompt) -> str:
        return completion_key(self._who(request.cell), prompt, self._sampling, row_seed(request))

    def _prompt(self, request: Request) -> Prompt:
        return first_prompt(request, self._facts.has_system_role)

    def _who(self, cell: Cell) -> str:
        """The fingerprint of who answers in a cell."""
        if not cell.adapter:
            return self._facts.fingerprint
        name, threshold = self._names[cell.adapter], cell.threshold
        return gated_fingerprint(
            self._facts.fingerprint, name, 0.0 if threshold is None else threshold
        )


def _scores(row: Sequence[ChoiceScore], read: Completion) -> ChoiceScores:
    values, counts = tuple(s.logprob for s in row), tuple(s.tokens for s in row)
    return ChoiceScores(values, counts, read.prompt_tokens, read.gate)
