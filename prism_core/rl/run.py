"""Reinforcement learning with verifiable rewards, with or without personas in the prompts.

PerMix-RLVR (Oh et al., arXiv 2604.08986): a model trained on verifiable rewards becomes steady
under personas but loses the ability to play one; personas mixed into the training prompts, with the
reward unchanged, are meant to keep both.
1. The level: given, or chosen by a probe of the base model (`prism_core.rl.probe`).
2. The plan: questions by the seed, personas by `prism_core.rl.mixing`.
3. The base model answers the held-out questions.
4. The arm is trained: GRPO (`prism_core.rl.trainer`) or supervised (`prism_core.rl.sft`).
5. The adapter is saved as a PEFT folder, loaded again, and answers the same held-out questions.
Every finished part is in the run's journal, so a run goes on where it was stopped. What we chose
because the paper does not publish it is listed in `prism_core.rl.spec` and `prism_core.rl.tasks`.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from prism_core.errors import InputError
from prism_core.lora.training import save_lora, trainable_lora
from prism_core.models.generator import Generator
from prism_core.models.local import LocalModel
from prism_core.personas.pool import PoolPersona, load_pool, part_of
from prism_core.prism.bundle import identify, load_ungated
from prism_core.prism.bundle_files import (
    ADAPTER_FOLDER,
    INFO_FILE,
    BundleInfo,
    read_info,
    write_info,
)
from prism_core.progress import Progress
from prism_core.rl.evaluation import Asking, Rewards, gain_of, rewards_of, scores_of
from prism_core.rl.mixing import plan_personas
from prism_core.rl.probe import LevelRate, choose_level, probe_level
from prism_core.rl.records import Question, RlInputs
from prism_core.rl.result import (
    HELD_STAGE,
    LEVEL_STAGE,
    RESULT_STAGE,
    RL_STAGE,
    TIME_STAGE,
    RlResult,
)
from prism_core.rl.spec import AUTO_LEVEL, RlSpec, check_rl_spec
from prism_core.rl.tasks import draw_items, examples_of, get_family
from prism_core.rl.trainer_hooks import is_main_process, processes, wait_for_all
from prism_core.stats import mean_of
from prism_core.storage import RunRow, Store, pack, unpack
from prism_core.storage.folder_store import open_folder, run_of_spec
from prism_core.storage.journal import Journal, StoreJournal, begin
from prism_core.types import Estimate

_SAMPLED, _GREEDY = "sampled", "greedy"


def run_rl(run: RunRow, store: Store, progress: Progress) -> None:
    """Do a reinforcement-learning run of the store; see `prism_core.worker`.

    Raises:
        PrismError: the run cannot go on; the message says why.
        CancelledError: stopped on request; finished parts and the last checkpoint are kept.
    """
    spec = unpack(RlSpec, dict(run.spec))
    run.path.mkdir(parents=True, exist_ok=True)
    train_rl(spec, run.path, StoreJournal(store, run.id), progress)


def train_rl(
    spec: RlSpec,
    folder: Path | str,
    journal: Journal | None = None,
    progress: Progress | None = None,
    model: LocalModel | None = None,
    command: str = "",
) -> RlResult:
    """Train one arm and measure it, or go on with it.

    Args:
        spec: what was chosen.
        folder: the run's folder; the adapter goes to `adapter` inside it.
        journal: None keeps it in a store of the folder's own, and goes on with the run there if it
            has this spec.
        progress: told of every step; its cancel event stops the work.
        model: the base model, loaded if it is not given.
        command: written on the model card; by default the command line of this spec.

    Raises:
        InputError: a choice is not allowed, or the run was begun with other settings.
        CancelledError: stopped on request.
    """
    folder, progress = Path(folder), progress or Progress()
    if journal is None:
        with open_folder(folder) as store:
            kept = StoreJournal(store, run_of_spec(store, "rl", check_rl_spec(spec)).id)
            return train_rl(spec, folder, kept, progress, model, command)
    started = time.monotonic()
    spec = check_rl_spec(spec)
    model = model or LocalModel.load(spec.model, progress=progress)
    begin(journal, RL_STAGE, spec, model.fingerprint)
    work = _RlRun(spec, folder, journal, progress, model)
    try:
        result = work.run(command or command_of(spec))
    finally:
        journal.save(TIME_STAGE, {f"{time.time():.3f}": time.monotonic() - started})
    result = replace(result, seconds=sum(journal.load(TIME_STAGE).values()))
    journal.save(RESULT_STAGE, {RESULT_STAGE: pack(result)})
    return result


def command_of(spec: RlSpec) -> str:
    """Return the command that trains this spec, for the model card."""
    words = ["python", "-m", "prism_core", "rl", "--arm", spec.arm, "--preset", spec.preset]
    words += ["--family", spec.family, "--seed", str(spec.seed), "--out", "DIR"]
    return shlex.join(words)


class _RlRun:
    """One run, with what its parts share."""

    def __init__(
        self, spec: RlSpec, folder: Path, journal: Journal, progress: Progress, model: LocalModel
    ) -> None:
        self.spec, self.folder, self.journal = spec, folder, journal
        self.progress, self.model = progress, model
        self.family = get_family(spec.family)
        self.notes: list[str] = []

    def run(self, command: str) -> RlResult:
        spec, level = self.spec, self._level()
        self.held = draw_items(self.family, level, "held_out", spec.held_out, spec.seed)
        if len(self.held) < spec.held_out:
            self.notes.append(
                f"The family has only {len(self.held)} held-out questions at this level."
            )
        self.examples = examples_of(self.family, level)
        before = self._held_rewards("base", self.model)
        target = self.folder / ADAPTER_FOLDER
        if not (target / INFO_FILE).is_file():
            self._train(level, target, command)
        trained = load_ungated(target, self.model)
        after = self._held_rewards("trained", trained)
        result = self._result(level, before, after)
        if is_main_process():
            self._note_metrics(target, result)
        return result

    def _level(self) -> int:
        """Return the level to train on: the given one, or the probe's choice, which is kept."""
        if self.spec.level != AUTO_LEVEL or len(self.family.levels) == 1:
            return max(0, self.spec.level)
        parts = self.journal.load(LEVEL_STAGE)
        for number, level in enumerate(self.family.levels):
            if str(number) in parts:
                continue
            self.progress.update("probe", number, len(self.family.levels), level.name)
            rate = probe_level(
                self.model,
                self.family,
                number,
                self.progress,
                self.spec.temperature,
                self.spec.seed,
            )
            self.journal.save(LEVEL_STAGE, {str(number): pack(rate)})
        rates = [unpack(LevelRate, p) for p in self.journal.load(LEVEL_STAGE).values()]
        chosen = choose_level(rates)
        if not chosen.is_fit:
            self.notes.append(
                f"No level is solved in 20-60 % of the tries; '{chosen.name}' is the nearest with "
                f"{chosen.rate}. Learning may be slow."
            )
        return chosen.level

    def _held_rewards(self, who: str, model: Generator) -> dict[str, Rewards]:
        """Return the held-out rewards of one system, sampled and greedy, each asked once."""
        spec = self.spec
        greedy = Asking(self.examples, spec.tokens, seed=spec.seed)
        sampled = replace(greedy, temperature=spec.temperature, repeats=spec.repeats)
        for kind, asking in ((_SAMPLED, sampled), (_GREEDY, greedy)):
            if f"{who}-{kind}" not in self.journal.load(HELD_STAGE):
                self.progress.update("held-out questions", 0, 1, f"{who}, {kind}")
                found = rewards_of(model, self.held, asking, self.progress)
                self.journal.save(HELD_STAGE, {f"{who}-{kind}": pack(found)})
        kept = self.journal.load(HELD_STAGE)
        return {kind: unpack(Rewards, kept[f"{who}-{kind}"]) for kind in (_SAMPLED, _GREEDY)}

    def _train(self, level: int, target: Path, command: str) -> None:
        """Train the arm and save its adapter, which its sheet, written last, makes whole."""
        from prism_core.rl.sft import train_sft
        from prism_core.rl.trainer import train_grpo
        from prism_core.rl.training import Training

        spec, pool = self.spec, part_of(load_pool(), "train")
        questions = self._questions(level, pool)
        inputs = RlInputs(questions, {p.name: p.text for p in pool}, self.examples)
        if spec.arm == "sft" and processes() > 1:
            raise InputError("The arm 'sft' takes one process; start it without a launcher.")
        train = train_sft if spec.arm == "sft" else train_grpo
        lora = trainable_lora(
            self.model.model, spec.rank, 2 * spec.rank, spec.seed, first_layer=spec.first_layer
        )
        with self.model.lock, lora as peft:
            train(
                Training(spec, inputs, self.model, peft, self.folder, self.journal, self.progress)
            )
            if is_main_process():
                save_lora(peft, target, self.model.name, "float32")
        info = BundleInfo(
            name=spec.name,
            base=identify(self.model),
            personas=tuple(p.name for p in pool) if spec.arm != "rlvr" else (),
            command=command,
            seed=spec.seed,
            settings=pack(replace(spec, level=level)),
            recipe="rl",
            held_out=tuple(item.id for item in self.held),
        )
        if is_main_process():
            write_info(target, info)
        wait_for_all()

    def _questions(self, level: int, pool: Sequence[PoolPersona]) -> list[Question]:
        """Plan as many questions as the steps need, repeated if there are fewer."""
        need = self.spec.steps * self.spec.prompts
        items = draw_items(self.family, level, "train", need, self.spec.seed)
        if not items:
            raise InputError(f"The family '{self.family.name}' gave no training question.")
        if len(items) < need:
            self.notes.append(
                f"The family has {len(items)} training questions at this level; {need} are asked, "
                "so they come round again."
            )
        plan = plan_personas(self.spec, pool)
        return [Question(items[i % len(items)], personas) for i, personas in enumerate(plan)]

    def _result(
        self, level: int, before: dict[str, Rewards], after: dict[str, Rewards]
    ) -> RlResult:
        def mean(rewards: Rewards) -> Estimate:
            return mean_of(scores_of(rewards).means, bounds=(0.0, 1.0))

        gain = gain_of(after[_SAMPLED], before[_SAMPLED])
        if gain.low is None or gain.low <= 0:
            self.notes.append("The reward on held-out questions did not clearly rise.")
        return RlResult(
            family=self.family.name,
            level=level,
            level_name=self.family.levels[level].name,
            base=mean(before[_SAMPLED]),
            trained=mean(after[_SAMPLED]),
            gain=gain,
            greedy_base=mean(before[_GREEDY]),
            greedy_trained=mean(after[_GREEDY]),
            greedy_gain=gain_of(after[_GREEDY], before[_GREEDY]),
            seconds=0.0,
            notes=tuple(self.notes),
        )

    def _note_metrics(self, target: Path, result: RlResult) -> None:
        metrics = {
            "Reward, base": result.base,
            "Reward, adapter": result.trained,
            "Reward gained": result.gain,
            "Greedy accuracy, base": result.greedy_base,
            "Greedy accuracy, adapter": result.greedy_trained,
            "Greedy accuracy gained": result.greedy_gain,
        }
        write_info(target, replace(read_info(target), metrics=metrics, notes=result.notes))
