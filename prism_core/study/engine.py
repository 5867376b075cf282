"""Who answers in a study: one loaded model at a time, its adapters, the way choices are scored.

An `Engine` holds what is heavy and can be built anywhere from plain data: in this process, or in a
worker of a Ray cluster. It answers requests whole, follow-up turns included.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prism_core.errors import CancelledError, InputError, ModelError
from prism_core.models.cached import CachedModel
from prism_core.models.generator import Generator
from prism_core.models.local import LocalModel
from prism_core.models.sources import open_model
from prism_core.personas.prompts import build_prompt
from prism_core.prism.bundle import load_bundle, read_info
from prism_core.prism.gating.gated_model import GatedModel
from prism_core.progress import Progress
from prism_core.storage import Store
from prism_core.storage.journal import seed_of
from prism_core.study.batches import Batch, Request
from prism_core.study.cells import AdapterFact
from prism_core.study.choice_scoring import ChoiceScores, Way, probe_scoring, score_choice_items
from prism_core.study.resolve import short_name
from prism_core.study.spec import Scoring
from prism_core.types import Completion, Message, Prompt, Sampling


@dataclass(frozen=True)
class ModelFacts:
    """What a study must know of a model before its cells can be laid out."""

    reference: str
    name: str
    fingerprint: str
    """Identity of weights and template."""
    has_system_role: bool
    scoring: Scoring
    adapters: tuple[AdapterFact, ...] = ()
    """Those of the spec's adapters that fit it."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Response:
    """What a model answered to one request."""

    turns: tuple[Completion, ...] = ()
    """One completion a turn, for written answers."""
    choice: ChoiceScores | None = None


def first_prompt(request: Request, has_system_role: bool) -> Prompt:
    """Return the first turn's prompt."""
    return build_prompt(request.item.question, request.cell.variant, has_system_role)


def next_prompt(prompt: Prompt, answer: str, question: str) -> Prompt:
    """Return a further turn's prompt: everything so far, then the new question."""
    return (*prompt, Message("assistant", answer), Message("user", question))


def row_seed(request: Request) -> int:
    """Return an answer's seed, the same in every cell: answers then differ by the cell alone."""
    return seed_of(request.seed, "study", request.item.task, request.item.id)


class Engine:
    """The models of a study, loaded one at a time."""

    def __init__(
        self,
        adapters: Mapping[str, Path],
        temperature: float = 0.0,
        top_p: float = 1.0,
        progress: Progress | None = None,
        store: Store | None = None,
    ) -> None:
        """Prepare; nothing is loaded before it is needed.

        Args:
            adapters: the folder of each adapter's reference.
            temperature: see `Sampling`.
            top_p: see `Sampling`.
            progress: told of a model that is being fetched.
            store: keeps what a probe asked, so that the next study need not ask again.
        """
        self._folders = dict(adapters)
        self._temperature, self._top_p = temperature, top_p
        self._progress, self._store = progress, store
        self._reference = ""
        self._model: Generator | None = None
        self._gated: dict[str, GatedModel] = {}

    def use(self, reference: str, model: Generator) -> None:
        """Take a model that is loaded already."""
        self._reference, self._model, self._gated = reference, model, {}

    def model(self, reference: str) -> Generator:
        """Return the model, loaded if need be; another one is let go first.

        Raises:
            PrismError: it cannot be loaded.
        """
        if self._model is None or reference != self._reference:
            self._model, self._gated = None, {}
            self._model = open_model(reference, self._progress)
            self._reference = reference
        return self._model

    def facts(self, reference: str, scoring: Scoring, has_choices: bool = True) -> ModelFacts:
        """Return what the study must know of a model.

        Args:
            reference: the model.
            scoring: as the spec asks; `auto` is decided by a probe.
            has_choices: whether there are choices to be scored at all.

        Raises:
            PrismError: the model cannot be loaded.
        """
        model = self.model(reference)
        found, notes = self._adapter_facts(model)
        chosen: Scoring = scoring
        if scoring == "auto" and has_choices:
            asked = model if self._store is None else CachedModel(model, self._store)
            probe = probe_scoring(asked)
            chosen = probe.scoring
            notes.append(f"{model.name}: {probe.sentence}")
        return ModelFacts(
            reference,
            model.name,
            model.fingerprint,
            model.has_system_role,
            "cloze" if chosen == "auto" else chosen,
            tuple(found),
            tuple(notes),
        )

    def fingerprint(self, reference: str) -> str:
        """Return the identity of a model, without its adapters."""
        return self.model(reference).fingerprint

    def answer(
        self, batch: Batch, scoring: Scoring, cancel: threading.Event | None = None
    ) -> list[Response]:
        """Answer all requests of a batch, in their order.

        Raises:
            InputError: a question is too long for the model.
            CancelledError: `cancel` was set.
        """
        found: dict[int, Response] = {}
        for places in self._by_speaker(batch):
            requests = [batch.requests[i] for i in places]
            if batch.kind == "choice":
                responses = self._choices(batch, requests, scoring, cancel)
            else:
                responses = self._texts(batch, requests, cancel)
            found.update(zip(places, responses, strict=True))
        return [found[i] for i in range(len(batch.requests))]

    def answer_all(
        self, batches: Sequence[Batch], scoring: Scoring, cancel: threading.Event
    ) -> Iterator[tuple[int, list[Response]]]:
        """Yield (place in `batches`, its answers), one batch after another."""
        for place, batch in enumerate(batches):
            yield place, self.answer(batch, scoring, cancel)

    def close(self) -> None:
        """Let the model go."""
        self._model, self._gated = None, {}

    def _by_speaker(self, batch: Batch) -> list[list[int]]:
        """Places of the requests that one model can answer together."""
        groups: dict[str, list[int]] = {}
        for i, request in enumerate(batch.requests):
            alone = request.cell.label if request.cell.adapter or batch.kind == "choice" else ""
            groups.setdefault(alone, []).append(i)
        return list(groups.values())

    def _speaker(self, reference: str, request: Request) -> Generator:
        model = self.model(reference)
        if not request.cell.adapter:
            return model
        if not isinstance(model, LocalModel):
            raise InputError(f"An adapter needs a model on this machine; '{model.name}' is not.")
        gated = self._gated.get(request.cell.adapter)
        if gated is None:
            gated = load_bundle(self._folders[request.cell.adapter], model)
            self._gated[request.cell.adapter] = gated
        threshold = request.cell.threshold
        return gated if threshold is None else gated.with_threshold(threshold)

    def _texts(
        self, batch: Batch, requests: Sequence[Request], cancel: threading.Event | None
    ) -> list[Response]:
        speaker = self._speaker(batch.model, requests[0])
        sampling = Sampling(batch.max_new_tokens, self._temperature, self._top_p)
        has_system_role = self.model(batch.model).has_system_role
        prompts = [first_prompt(request, has_system_role) for request in requests]
        seeds = [row_seed(request) for request in requests]
        turns: list[list[Completion]] = [[] for _ in requests]
        places = list(range(len(requests)))
        for turn in range(1 + max(len(request.item.follow_ups) for request in requests)):
            answers = speaker.generate(
                [prompts[i] for i in places], sampling, [seeds[i] for i in places], cancel=cancel
            )
            if any(a.finish in ("cancelled", "running") for a in answers):
                raise CancelledError("stopped while answers were being written")
            for i, answer in zip(places, answers, strict=True):
                turns[i].append(answer)
            places = [i for i in places if turn < len(requests[i].item.follow_ups)]
            for i in places:
                question = requests[i].item.follow_ups[turn]
                prompts[i] = next_prompt(prompts[i], turns[i][-1].text, question)
            if not places:
                break
        return [Response(tuple(one)) for one in turns]

    def _choices(
        self,
        batch: Batch,
        requests: Sequence[Request],
        scoring: Scoring,
        cancel: threading.Event | None,
    ) -> list[Response]:
        speaker = self._speaker(batch.model, requests[0])
        items = [request.item for request in requests]
        way: Way = "letters" if scoring == "letters" else "cloze"
        scores = score_choice_items(speaker, requests[0].cell.variant, items, way, cancel=cancel)
        return [Response(choice=one) for one in scores]

    def _adapter_facts(self, model: Generator) -> tuple[list[AdapterFact], list[str]]:
        """The adapters that fit the model, and a sentence for each that does not."""
        found, notes = [], []
        for reference, folder in self._folders.items():
            if not isinstance(model, LocalModel):
                notes.append(f"{model.name} is a remote model, which takes no adapter.")
                continue
            try:
                gated = load_bundle(folder, model)
            except ModelError as error:
                notes.append(str(error))
                continue
            self._gated[reference] = gated
            name = short_name(reference, read_info(folder))
            found.append(AdapterFact(reference, name, gated.threshold, gated.adapter_hash))
        return found, list(dict.fromkeys(notes))
