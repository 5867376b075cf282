"""PRISM against its baselines on held-out queries: one table, made step by step.

1. Every system routes and answers the same queries with the same seeds, in batches; where two of
   them put the same prompt to the same weights, one answer serves both.
2. The persona teacher reads its answers once; every system's KL to it is measured.
3. The judge compares each answer with the base's in both orders; equal texts tie unasked, and a
   text that several systems wrote is judged once.
4. A few queries are asked alone, the systems in turn, for the time an answer takes.
Each part is journaled under a hash of all that it depends on: a resumed comparison redoes none, and
a system that was trained anew is measured anew.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prism_core.errors import CancelledError
from prism_core.models.local import LocalModel
from prism_core.personas.prompts import VariantOf
from prism_core.prism.ablation.answer_kl import AnswerKl, KlQuestion
from prism_core.prism.ablation.settings import AblationConfig, AblationInputs, check_inputs
from prism_core.prism.ablation.systems import RoutedPrompt, System
from prism_core.prism.ablation.table import (
    COLUMNS,
    STAGE,
    TABLE_KEY,
    AblationRow,
    AblationTable,
    QueryOutcome,
    is_wanted,
    make_cells,
    remarks,
)
from prism_core.progress import Progress
from prism_core.scorers.judges import Judge, JudgePair
from prism_core.storage import dumps, pack, unpack
from prism_core.storage.journal import Journal, seed_of
from prism_core.types import Completion, Verdict


def compare_systems(
    config: AblationConfig,
    inputs: AblationInputs,
    judge: Judge,
    variant_of: VariantOf,
    model: LocalModel,
    journal: Journal,
    progress: Progress,
) -> AblationTable:
    """Compare all systems on the held-out queries (PRISM, section 5); journal parts and table.

    Raises:
        InputError: no held-out query, no base among the systems, or a system twice.
        CancelledError: stopped on request; finished parts are in the journal.
    """
    check_inputs(config, inputs)
    table = _Comparison(config, inputs, judge, variant_of, model, journal, progress).table()
    journal.save(STAGE, {TABLE_KEY: pack(table)})
    return table


@dataclass
class _Comparison:
    """One comparison: what stays the same while its parts are made."""

    config: AblationConfig
    inputs: AblationInputs
    judge: Judge
    variant_of: VariantOf
    model: LocalModel
    journal: Journal
    progress: Progress

    def __post_init__(self) -> None:
        self.queries = [judged.pair.query for judged in self.inputs.held_out]
        self.seeds = [seed_of(self.config.seed, STAGE, q.id) for q in self.queries]

    def table(self) -> AblationTable:
        """Make all parts, then the estimates."""
        systems = self.inputs.systems
        asked: dict[str, list[RoutedPrompt]] = {
            s.name: s.route(self.queries, self.progress.cancel) for s in systems
        }
        answers: dict[str, list[Completion]] = {
            s.name: self._answers(s, asked[s.name]) for s in systems
        }
        kls = self._kls(asked, answers)
        verdicts = self._verdicts(answers)
        times = self._times()
        outcomes = {
            name: [
                QueryOutcome(
                    answer=answer,
                    read_tokens=row.tokens_before + answer.prompt_tokens,
                    is_routed=_is_routed(row, answer),
                    kl=kls[name][i],
                    verdict=None if name == "base" else verdicts[i, answer.text],
                    seconds=times.get((name, i)),
                )
                for i, (row, answer) in enumerate(zip(asked[name], answers[name], strict=True))
            ]
            for name in asked
        }
        return self._assemble(outcomes)

    def _answers(self, system: System, asked: Sequence[RoutedPrompt]) -> list[Completion]:
        """Answer as a system; a row that was answered before, by whatever system, is taken."""
        stage = f"{STAGE}_answers"
        keys = [self._answer_key(system, i, row) for i, row in enumerate(asked)]
        known = self.journal.load(stage)
        found = {k: unpack(Completion, known[k]) for k in keys if k in known}
        new = [i for i, key in enumerate(keys) if key not in found]
        for start in range(0, len(new), self.config.batch_rows):
            batch = new[start : start + self.config.batch_rows]
            self._report(f"{system.label}: answering", system, len(found))
            answers = system.answer(
                [asked[i] for i in batch],
                self.model,
                self.config.sampling,
                [self.seeds[i] for i in batch],
                self.progress.cancel,
            )
            if any(a.finish in ("cancelled", "running") for a in answers):
                raise CancelledError("stopped while the systems were answering")
            fresh = {keys[i]: a for i, a in zip(batch, answers, strict=True)}
            self.journal.save(stage, {k: pack(a) for k, a in fresh.items()})
            found |= fresh
        return [found[k] for k in keys]

    def _kls(
        self, asked: Mapping[str, list[RoutedPrompt]], answers: Mapping[str, list[Completion]]
    ) -> dict[str, list[float | None]]:
        """Measure each system's KL to the teacher, who reads only if something is new."""
        stage, known = f"{STAGE}_kl", self.journal.load(f"{STAGE}_kl")
        pairs = [judged.pair for judged in self.inputs.held_out]
        variants = [self.variant_of(q.persona) for q in self.queries]
        # The teacher's prompt is hashed as text of its own: so say the keys of earlier runs.
        texts = [
            (pair.persona.text, dumps([pair.query.text, variant]))
            for pair, variant in zip(pairs, variants, strict=True)
        ]
        weights = (self.model.fingerprint, self.config.max_tokens)
        teacher: AnswerKl | None = None
        result: dict[str, list[float | None]] = {}
        for system in self.inputs.systems:
            gated = system.gated
            rows = zip(asked[system.name], answers[system.name], strict=True)
            questions = [
                KlQuestion(i, row.prompt, gated is not None and _is_routed(row, answer))
                for i, (row, answer) in enumerate(rows)
            ]
            adapter = "" if gated is None else gated.adapter_hash or gated.fingerprint
            keys = [
                _hash(*weights, adapter if q.is_adapted else "", q.prompt, *texts[q.answer])
                for q in questions
            ]
            new = [i for i, key in enumerate(keys) if key not in known]
            if new:
                self._report(f"{system.label}: distance to the persona", system, 0)
                teacher = teacher or AnswerKl(
                    pairs,
                    self.variant_of,
                    self.model,
                    self.progress,
                    max_tokens=self.config.max_tokens,
                )
                found = teacher.kls([questions[i] for i in new], gated.lora if gated else None)
                fresh = {keys[i]: kl for i, kl in zip(new, found, strict=True)}
                self.journal.save(stage, fresh)
                known |= fresh
            result[system.name] = [known[key] for key in keys]
        return result

    def _verdicts(self, answers: Mapping[str, list[Completion]]) -> dict[tuple[int, str], Verdict]:
        """Judge each different answer to each query against the base's answer."""
        base = [a.text for a in answers["base"]]
        asked = dict.fromkeys((i, a.text) for row in answers.values() for i, a in enumerate(row))
        found = {(i, text): Verdict("tie", 0.5, 0.5) for i, text in asked if text == base[i]}
        who = getattr(getattr(self.judge, "model", None), "fingerprint", type(self.judge).__name__)
        rule = getattr(self.judge, "rule", "")
        keys = {
            (i, text): _hash(who, rule, self.queries[i].text, text, base[i])
            for i, text in asked
            if (i, text) not in found
        }
        stage, known = f"{STAGE}_verdicts", self.journal.load(f"{STAGE}_verdicts")
        new = [one for one, key in keys.items() if key not in known]
        for start in range(0, len(new), self.config.batch_rows):
            self.progress.check()
            self.progress.update(STAGE, start, len(new), "judging the answers in both orders")
            batch = new[start : start + self.config.batch_rows]
            pairs = [JudgePair(self.queries[i].text, text, base[i]) for i, text in batch]
            verdicts = self.judge.judge(pairs, cancel=self.progress.cancel)
            self.progress.check()  # a remote judge's last answers may have been cut short
            fresh = {keys[one]: pack(v) for one, v in zip(batch, verdicts, strict=True)}
            self.journal.save(stage, fresh)
            known |= fresh
        return found | {one: unpack(Verdict, known[key]) for one, key in keys.items()}

    def _times(self) -> dict[tuple[str, int], float]:
        """Time a few queries asked alone: the systems in turn, so that all meet the same load."""
        stage, known = f"{STAGE}_times", self.journal.load(f"{STAGE}_times")
        count = min(self.config.timed, len(self.queries))
        found: dict[tuple[str, int], float] = {}
        for i in (n * len(self.queries) // count for n in range(count)):
            for system in self.inputs.systems:
                gated = system.gated.fingerprint if system.gated is not None else ""
                query = [self.queries[i].text, self.seeds[i]]
                who = (system.name, self.model.fingerprint, gated)
                key = _hash(*who, query, self.config.sampling)
                if key not in known:
                    self._report(f"{system.label}: taking the time", system, 0)
                    known[key] = self._time(system, i)
                    self.journal.save(stage, {key: known[key]})
                found[system.name, i] = known[key]
        return found

    def _time(self, system: System, i: int) -> float:
        cancel = self.progress.cancel
        start = time.perf_counter()
        asked = (system.route_alone or system.route)([self.queries[i]], cancel)
        system.answer(asked, self.model, self.config.sampling, [self.seeds[i]], cancel)
        seconds = time.perf_counter() - start
        self.progress.check()  # a stopped answer's time says nothing
        return seconds

    def _assemble(self, outcomes: Mapping[str, list[QueryOutcome]]) -> AblationTable:
        inputs, base = self.inputs, outcomes["base"]
        rows = []
        for system in inputs.systems:
            mine = outcomes[system.name]
            cells = make_cells(mine, base, inputs.held_out, inputs.behaviour)
            rows.append(AblationRow(system.name, system.label, cells, system.note))
        used = {key for row in rows for key in row.cells}
        return AblationTable(
            columns=tuple(c for c in COLUMNS if c.key in used),
            rows=tuple(rows),
            missing=tuple(inputs.missing),
            queries=len(inputs.held_out),
            wanted=sum(is_wanted(judged) for judged in inputs.held_out),
            judge=self.config.judge,
            notes=remarks(inputs.held_out),
        )

    def _answer_key(self, system: System, i: int, asked: RoutedPrompt) -> str:
        """Identify an answer by who reads what: the same weights, prompt and seed say the same.

        A closed gate is the base and an open one the adapter, so gates whose decisions are known
        share their answers with both.
        """
        who = [self.model.fingerprint]
        if system.gated is not None and asked.gate == "auto":
            who.append(system.gated.fingerprint)
        elif system.gated is not None and asked.gate == "open":
            who.append(system.gated.adapter_hash or system.gated.fingerprint)
        return _hash(who, asked.gate == "auto", asked.prompt, self.seeds[i], self.config.sampling)

    def _report(self, note: str, system: System, answered: int) -> None:
        self.progress.check()
        order = [s.name for s in self.inputs.systems]
        total = len(order) * len(self.queries)
        done = order.index(system.name) * len(self.queries) + answered
        self.progress.update(STAGE, done, total, note)


def _is_routed(asked: RoutedPrompt, answer: Completion) -> bool:
    """Whether persona or adapter answered: as it was planned, or as the gate decided."""
    if asked.is_routed is not None:
        return asked.is_routed
    return answer.gate is not None and answer.gate.is_open


def _hash(*parts: object) -> str:
    return hashlib.sha256(dumps(list(parts)).encode()).hexdigest()[:24]
