"""Answers that need not be computed again: looked up and kept by all that determines them.

An answer's key covers the model's fingerprint (adapter and threshold with it), the prompt, the
sampling and the seed, so a study that is repeated or widened pays only for what is new. A
conversation is in the cache as far as each of its turns is. Beside a choice's scores stands what
was read before them: the prompt's tokens and the gate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prism_core.personas.prompts import build_prompt
from prism_core.prism.gating.gated_model import gated_fingerprint
from prism_core.storage import Store, completion_key, score_key
from prism_core.study.batches import Batch, Request
from prism_core.study.cells import Cell, ModelFacts
from prism_core.study.choices import ChoiceScores
from prism_core.study.engine import Response, is_whole, row_seed, sampling_of, turn_prompt
from prism_core.study.spec import StudySpec
from prism_core.types import ChoiceScore, Completion

FORMAT = "1"
"""Raised when the wording of choice prompts changes."""


class AnswerCache:
    """One store's cache, as a study uses it."""

    def __init__(self, store: Store, facts: ModelFacts, spec: StudySpec) -> None:
        """Look up one model's answers; the model itself need not be loaded."""
        self._store, self._facts, self._spec = store, facts, spec
        self._names = {one.reference: one.fingerprint for one in facts.adapters}

    def find(self, batch: Batch) -> tuple[dict[int, Response], dict[int, Response]]:
        """Return what is known of a batch's requests by their place in it: whole ones, begun ones.

        A conversation is begun where its first turns are known, and not all.
        """
        if batch.kind == "choice":
            return self._find_choices(batch), {}
        known = self._find_texts(batch)
        whole = {i: had for i, had in known.items() if is_whole(batch.requests[i], had)}
        return whole, {i: had for i, had in known.items() if had.turns and i not in whole}

    def keep(self, batch: Batch, responses: Mapping[int, Response]) -> None:
        """Keep what was computed, in one transaction."""
        if batch.kind == "choice":
            self._keep_choices(batch, responses)
            return
        self._store.put_completions(
            {
                self._key(batch, batch.requests[i], response.turns[:turn]): answer
                for i, response in responses.items()
                for turn, answer in enumerate(response.turns)
            }
        )

    def _find_texts(self, batch: Batch) -> dict[int, Response]:
        turns: dict[int, list[Completion]] = {i: [] for i in range(len(batch.requests))}
        wanted = {i: 1 + len(batch.requests[i].item.follow_ups) for i in turns}
        places = list(turns)
        while places:
            keys = {i: self._key(batch, batch.requests[i], turns[i]) for i in places}
            known = self._store.get_completions(keys.values())
            places = [i for i in places if keys[i] in known]
            for i in places:
                turns[i].append(known[keys[i]])
            places = [i for i in places if len(turns[i]) < wanted[i]]
        return {i: Response(tuple(had)) for i, had in turns.items()}

    def _keep_choices(self, batch: Batch, responses: Mapping[int, Response]) -> None:
        keys = self._choice_keys(batch)
        rows: dict[str, list[ChoiceScore]] = {}
        read: dict[str, Completion] = {}
        for i, response in responses.items():
            if (choice := response.choice) is not None:
                pairs = zip(choice.logprobs, choice.tokens, strict=True)
                rows[keys[i][0]] = [ChoiceScore(value, count) for value, count in pairs]
                read[keys[i][1]] = Completion(
                    "", prompt_tokens=choice.prompt_tokens, finish="stop", gate=choice.gate
                )
        self._store.put_completions(read)
        self._store.put_scores(rows)

    def _find_choices(self, batch: Batch) -> dict[int, Response]:
        keys = self._choice_keys(batch)
        known = self._store.get_scores(key for key, _ in keys)
        read = self._store.get_completions(key for _, key in keys)
        return {
            i: Response(choice=_scores(known[scored], read[reading]))
            for i, (scored, reading) in enumerate(keys)
            if scored in known and reading in read
        }

    def _choice_keys(self, batch: Batch) -> list[tuple[str, str]]:
        """Return two keys for each request: of its scores, and of what was read before them."""
        mode = f"{self._facts.scoring}/{FORMAT}"
        if self._facts.probe is not None:  # earlier versions asked endpoints without a template
            mode += "/chat"
        sampling = sampling_of(self._spec, batch)
        keys = []
        for request in batch.requests:
            who = self._who(request.cell)
            variant, role = request.cell.variant, self._facts.has_system_role
            prompt = build_prompt(request.item.question, variant, role)
            scored = score_key(who, prompt, request.item.choices, mode)
            reading = completion_key(who, prompt, sampling, 0, mode=f"{mode} {scored}")
            keys.append((scored, reading))
        return keys

    def _key(self, batch: Batch, request: Request, answers: Sequence[Completion]) -> str:
        """Return the key of the turn that follows these answers."""
        prompt = turn_prompt(request, answers, self._facts.has_system_role)
        sampling = sampling_of(self._spec, batch)
        return completion_key(self._who(request.cell), prompt, sampling, row_seed(request))

    def _who(self, cell: Cell) -> str:
        """Return the fingerprint of who answers in a cell."""
        if not cell.adapter:
            return self._facts.fingerprint
        name = self._names[cell.adapter]
        return gated_fingerprint(self._facts.fingerprint, name, cell.threshold or 0.0)


def _scores(row: Sequence[ChoiceScore], read: Completion) -> ChoiceScores:
    values, counts = tuple(s.logprob for s in row), tuple(s.tokens for s in row)
    return ChoiceScores(values, counts, read.prompt_tokens, read.gate)
