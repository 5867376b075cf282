"""Who answers in a study: one loaded model at a time, its adapters, and how its choices are scored.

An `Engine` holds what is heavy and can be built anywhere from plain data: in this process, or in a
worker of a Ray cluster. It answers a batch's requests whole, follow-up turns included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prism_core.errors import CancelledError, InputError, ModelError
from prism_core.models.buying.arrivals import Task, as_they_arrive
from prism_core.models.buying.dealer import Dealt
from prism_core.models.cached import CachedModel
from prism_core.models.generator import Generator
from prism_core.models.local import LocalModel
from prism_core.models.remote.generator import RemoteGenerator
from prism_core.models.sources import open_model
from prism_core.personas.prompts import build_prompt
from prism_core.prism.bundle import load_bundle
from prism_core.prism.bundle_files import read_info
from prism_core.prism.gating.gated_model import GatedModel
from prism_core.progress import Progress
from prism_core.storage import Store
from prism_core.storage.journal import seed_of
from prism_core.study.batches import Batch, Request
from prism_core.study.cells import AdapterFact, ModelFacts
from prism_core.study.choice_scoring import choice_question, choose_way, score_choice_items
from prism_core.study.choices import ChoiceScores, Way
from prism_core.study.purchases import Purchases
from prism_core.study.resolve import short_name
from prism_core.study.spec import StudySpec
from prism_core.types import Completion, Message, Prompt, Sampling


@dataclass(frozen=True)
class Response:
    """What a model answered to one request."""

    turns: tuple[Completion, ...] = ()
    choice: ChoiceScores | None = None


Piece = tuple[int, int, Response]
"""The place of a batch, the place of a request in it, and its response so far."""
Arrived = Mapping[int, Mapping[int, Response]]
"""Responses by the place of their batch, and of their request in it."""


def is_whole(request: Request, response: Response) -> bool:
    """Tell whether a response answers all turns of its request."""
    return response.choice is not None or len(response.turns) > len(request.item.follow_ups)


def sampling_of(spec: StudySpec, batch: Batch) -> Sampling:
    """Return how a batch's answers are drawn; a letter is the likeliest answer."""
    if batch.kind == "letter":
        return Sampling(max_new_tokens=batch.max_new_tokens)
    return Sampling(
        max_new_tokens=batch.max_new_tokens, temperature=spec.temperature, top_p=spec.top_p
    )


def turn_prompt(request: Request, answers: Sequence[Completion], has_system_role: bool) -> Prompt:
    """Return the prompt of the next turn: all that was said so far, then the next question."""
    item = request.item
    question = choice_question(item, "written") if item.kind == "choice" else item.question
    prompt = build_prompt(question, request.cell.variant, has_system_role)
    for answer, question in zip(answers, request.item.follow_ups, strict=False):
        prompt = (*prompt, Message("assistant", answer.text), Message("user", question))
    return prompt


def row_seed(request: Request) -> int:
    """Return an answer's seed: cells of one item share it, so that only the cell differs."""
    return seed_of(request.seed, "study", request.item.task, request.item.id)


class Engine:
    """The models of a study, loaded one at a time."""

    def __init__(
        self,
        adapters: Mapping[str, Path],
        spec: StudySpec,
        progress: Progress | None = None,
        store: Store | None = None,
        purchases: Purchases | None = None,
    ) -> None:
        """Prepare; nothing is loaded before it is needed.

        Args:
            adapters: the folder of each adapter's reference.
            spec: the study's choices.
            progress: told of a model that is being fetched; its cancel event stops the work.
            store: keeps what a probe asked, so that the next study need not ask again.
            purchases: how models at endpoints are asked and paid; None where there is none.
        """
        self._folders, self._spec, self._store = dict(adapters), spec, store
        self._progress = progress or Progress()
        self._purchases = purchases
        self._reference = ""
        self._model: Generator | None = None
        self._gated: dict[str, GatedModel] = {}

    def use(self, reference: str, model: Generator) -> None:
        """Take a model that is loaded already."""
        self._reference, self._model, self._gated = reference, model, {}
        if self._purchases is not None:
            self._purchases.equip(reference, model)

    def model(self, reference: str) -> Generator:
        """Return the model, loaded if need be; another one is let go first.

        Raises:
            PrismError: it cannot be loaded.
        """
        if self._model is None or reference != self._reference:
            self._model, self._gated = None, {}
            model = open_model(reference, self._progress, effort=self._spec.effort)
            self.use(reference, model)
            return model
        return self._model

    def facts(self, reference: str, has_choices: bool = True) -> ModelFacts:
        """Find out what the study must know of a model.

        Where there are choices and the spec leaves open how to score them, a probe decides.

        Raises:
            PrismError: the model cannot be loaded.
        """
        model = self.model(reference)
        found, notes = self._adapter_facts(model)
        probe = None
        if isinstance(model, RemoteGenerator):
            probe = model.probe(self._progress.cancel)
            notes += [probe.sentence, *probe.notes]
        scoring: Way = "letters" if self._spec.scoring == "letters" else "cloze"
        if has_choices:
            asked = model if self._store is None else CachedModel(model, self._store)
            scoring, why = choose_way(model, asked, self._spec.scoring, self._progress.cancel)
            notes += [f"{model.name}: {why}"] if why else []
        return ModelFacts(
            reference,
            model.name,
            model.fingerprint,
            model.has_system_role,
            scoring,
            tuple(found),
            tuple(notes),
            probe,
        )

    def recall(self, facts: ModelFacts) -> None:
        """Use a model as it was found when the study began, without another probe."""
        model = self.model(facts.reference)
        if isinstance(model, RemoteGenerator) and facts.probe is not None:
            model.remember(facts.probe)

    def refused(self, facts: ModelFacts) -> tuple[str, ...]:
        """Return the parameters that a model refused since it was probed."""
        model = self.model(facts.reference)
        if not isinstance(model, RemoteGenerator) or facts.probe is None:
            return ()
        known = facts.probe.refused
        return tuple(name for name in model.client.dialect.refused if name not in known)

    def fingerprint(self, reference: str) -> str:
        """Return the identity of a model, without its adapters."""
        return self.model(reference).fingerprint

    def answer_all(
        self, batches: Sequence[Batch], scoring: Way, begun: Arrived
    ) -> Iterator[Arrived]:
        """Yield responses: batch by batch, or from an endpoint as they arrive, turn by turn.

        A conversation that was `begun` at an endpoint goes on from there.
        """
        if batches and isinstance(model := self.model(batches[0].model), Dealt):
            yield from self._buy(model, batches, scoring, begun)
            return
        for place, batch in enumerate(batches):
            yield {place: dict(enumerate(self.answer(batch, scoring)))}

    def _buy(
        self, model: Generator, batches: Sequence[Batch], scoring: Way, begun: Arrived
    ) -> Iterator[Arrived]:
        tasks = [
            self._task(model, batch, (place, i), scoring, begun.get(place, {}).get(i))
            for place, batch in enumerate(batches)
            for i in range(len(batch.requests))
        ]
        for pieces in as_they_arrive(tasks, self._spec.concurrency, self._progress.cancel):
            found: dict[int, dict[int, Response]] = {}
            for place, i, response in pieces:
                found.setdefault(place, {})[i] = response
            yield found

    def _task(
        self,
        model: Generator,
        batch: Batch,
        where: tuple[int, int],
        scoring: Way,
        begun: Response | None,
    ) -> Task[Piece]:
        """Return what answers one request, handing on each turn as soon as it is there."""
        request, cancel = batch.requests[where[1]], self._progress.cancel
        sampling = sampling_of(self._spec, batch)

        def choose(hand_on: Callable[[Piece], None]) -> None:
            variant = request.cell.variant
            (score,) = score_choice_items(model, variant, [request.item], scoring, cancel=cancel)
            hand_on((*where, Response(choice=score)))

        def converse(hand_on: Callable[[Piece], None]) -> None:
            response = begun or Response()
            while not is_whole(request, response):
                prompt = turn_prompt(request, response.turns, model.has_system_role)
                (answer,) = model.generate([prompt], sampling, row_seed(request), cancel=cancel)
                if answer.finish in ("cancelled", "running"):
                    raise CancelledError("stopped while answers were being written")
                response = Response((*response.turns, answer))
                hand_on((*where, response))

        return choose if batch.kind == "choice" else converse

    def close(self) -> None:
        """Let the model go."""
        self._model, self._gated = None, {}

    def answer(self, batch: Batch, scoring: Way) -> list[Response]:
        """Answer all requests of a batch, in their order.

        Raises:
            InputError: a question is too long for the model.
            CancelledError: stopped on request.
        """
        found: dict[int, Response] = {}
        for places in self._by_speaker(batch):
            requests = [batch.requests[i] for i in places]
            speaker = self._speaker(batch.model, requests[0])
            if batch.kind == "choice":
                variant, items = requests[0].cell.variant, [one.item for one in requests]
                scores = score_choice_items(
                    speaker, variant, items, scoring, cancel=self._progress.cancel
                )
                responses = [Response(choice=one) for one in scores]
            else:
                responses = self._texts(speaker, requests, sampling_of(self._spec, batch))
            found.update(zip(places, responses, strict=True))
        return [found[i] for i in range(len(batch.requests))]

    def _by_speaker(self, batch: Batch) -> list[list[int]]:
        """Return the places of the requests that one model can answer together."""
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
        self, speaker: Generator, requests: Sequence[Request], sampling: Sampling
    ) -> list[Response]:
        turns: list[list[Completion]] = [[] for _ in requests]
        places = list(range(len(requests)))
        while places:
            prompts = [turn_prompt(requests[i], turns[i], speaker.has_system_role) for i in places]
            seeds = [row_seed(requests[i]) for i in places]
            answers = speaker.generate(prompts, sampling, seeds, cancel=self._progress.cancel)
            if any(a.finish in ("cancelled", "running") for a in answers):
                raise CancelledError("stopped while answers were being written")
            for i, answer in zip(places, answers, strict=True):
                turns[i].append(answer)
            places = [i for i in places if len(turns[i]) <= len(requests[i].item.follow_ups)]
        return [Response(tuple(one)) for one in turns]

    def _adapter_facts(self, model: Generator) -> tuple[list[AdapterFact], list[str]]:
        """Return the adapters that fit the model, and a sentence for each that does not."""
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
