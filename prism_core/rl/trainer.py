"""GRPO by trl on a LoRA by peft: our rewards, our rollouts, our journal (PerMix-RLVR, section 3).

1. The data set is the plan: row i is question i of the run, with the personas of its rollouts.
2. `PersonaTrainer` puts each rollout's persona into its prompt, then lets trl do its work.
3. The reward is 1 where `prism_core.scorers.graders.grade` passes the answer and 0 elsewhere.
4. `Journalist` writes every step's numbers and a few rollouts into the run's journal, and stops the
   run when it is told to; inside a step, hooks on the decoder layers do.
5. Checkpoints are trl's own. One counts only once it bears a mark that is written after it, so a
   process may die at any moment; the LoRA, the optimiser, the schedule and the random numbers are
   restored from it, and a resumed run ends with the very weights of one that was never stopped.
On a GPU the preset `full` applies: `pip install "trl[vllm]"` and `--vllm` let vLLM sample in this
process. On several, start it as trl's other scripts are, with DeepSpeed or without:
`accelerate launch --config_file CONFIG -m prism_core rl --preset full --model M --out DIR`; each
process then reads its part of a batch, and the first one writes.
trl's losses are taken as they are: `dapo` (mean over the batch's tokens), group-scaled advantages,
clipping at 0.2, one update a batch. The KL towards the base is a penalty only if it has a weight;
otherwise it is measured on one rollout of each group every few steps.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from prism_core.models.local import LocalModel
from prism_core.progress import Progress
from prism_core.rl.group_logprobs import can_share, shared_logps
from prism_core.rl.records import METRICS, ROLLOUTS, Question, RolloutRecord, StepRecord
from prism_core.rl.rollouts import Rollouts, as_messages, as_prompt
from prism_core.rl.spec import RlSpec
from prism_core.rl.tasks import ask
from prism_core.rl.trainer_hooks import (
    CHECKPOINTS,
    MARK,
    last_checkpoint,
    plain_forward,
    processes,
    stoppable_training,
)
from prism_core.scorers.graders import grade
from prism_core.storage import pack
from prism_core.storage.journal import Journal
from prism_core.types import Message, Sampling

TRAIN_STAGE = "training"
_KL_EVERY = 5
_SHOWN = 4


@dataclass(frozen=True)
class RlInputs:
    """What a training run reads."""

    questions: Sequence[Question]
    """`spec.steps * spec.prompts` questions in the order they are trained on."""
    texts: Mapping[str, str]
    """The personas' texts by name."""
    examples: tuple[Message, ...]
    """Worked examples that stand in front of every question."""


def train_grpo(
    spec: RlSpec,
    inputs: RlInputs,
    model: LocalModel,
    peft: PeftModel,
    folder: Path,
    journal: Journal,
    progress: Progress,
) -> None:
    """Train the LoRA in place, from the last whole checkpoint if there is one.

    Args:
        spec: the run's settings.
        inputs: questions, personas and examples.
        model: the base model that `peft` sits on.
        peft: the LoRA.
        folder: the run's folder; checkpoints go below it.
        journal: where steps and rollouts are written.
        progress: told of every step; its cancel event stops the work within a layer's time.

    Raises:
        CancelledError: stopped on request; the last checkpoint is kept.
        PrismError: the reward could not be computed; the last checkpoint is kept.
    """
    reward = VerifiedReward(inputs.questions)
    sampling = Sampling(max_new_tokens=spec.tokens, temperature=spec.temperature)
    rollouts = Rollouts(model, sampling, spec.seed, progress.cancel)
    with (
        plain_forward(model.model),
        stoppable_training(model.model, progress),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # trl says that rollout_func is experimental
        trainer = PersonaTrainer(
            spec,
            inputs,
            model=peft,
            reward_funcs=[reward],
            args=_config(spec, model, folder / CHECKPOINTS),
            train_dataset=Dataset.from_list(_rows(inputs)),
            processing_class=model.tokenizer,
            rollout_func=None if spec.use_vllm else rollouts,
            callbacks=[Journalist(spec, journal, progress, reward)],
        )
        trainer.remove_callback(PrinterCallback)
        start = last_checkpoint(folder / CHECKPOINTS)
        trainer.train(resume_from_checkpoint=str(start) if start else None)


class VerifiedReward:
    """1 for a right answer, 0 for any other, with the reasons kept for the page."""

    __name__ = "verified"

    def __init__(self, questions: Sequence[Question]) -> None:
        self.questions = questions
        self.latest: list[RolloutRecord] = []

    def __call__(
        self, prompts: list[Any], completions: list[Any], number: list[int], **_: Any
    ) -> list[float]:
        """Rewards of one batch.

        Raises:
            PrismError: an answer cannot be graded.
        """
        records = []
        for messages, completion, n in zip(prompts, completions, number, strict=True):
            question, text = self.questions[n], str(completion[0]["content"])
            found = grade(question.item, text)
            prompt = as_prompt(messages)
            persona = prompt[0].content if prompt[0].role == "system" else ""
            records.append(
                RolloutRecord(
                    question=question.item.question,
                    persona=persona,
                    text=text,
                    reward=float(bool(found.passed)),
                    why=found.why,
                )
            )
        self.latest = records
        return [r.reward for r in records]


class PersonaTrainer(GRPOTrainer):
    """trl's trainer, with a persona in each rollout's prompt."""

    def __init__(self, spec: RlSpec, inputs: RlInputs, **settings: Any) -> None:
        self.spec, self.inputs = spec, inputs
        super().__init__(**settings)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Mix the personas in, and measure the KL where nothing else does."""
        first = self.accelerator.process_index * len(inputs)
        mixed = [
            {"number": row["number"], "prompt": self._prompt(row["number"], first + i)}
            for i, row in enumerate(inputs)
        ]
        batch = cast("dict[str, Any]", super()._generate_and_score_completions(mixed))
        if self.beta == 0.0 and self.state.global_step % _KL_EVERY == 0:
            self._metrics["train"]["kl"].append(self._sampled_kl(batch))
        return batch

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        **rest: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, None]:
        """Read a prompt that rollouts share once, where the model and the machine allow it."""
        base = self.accelerator.unwrap_model(model).get_base_model()
        if self.accelerator.num_processes > 1 or not can_share(base):
            return cast(
                "tuple[torch.Tensor, torch.Tensor | None, None]",
                super()._get_per_token_logps_and_entropies(
                    model, input_ids, attention_mask, logits_to_keep, **rest
                ),
            )
        logps, entropies = shared_logps(
            base, input_ids, attention_mask, logits_to_keep, self.temperature
        )
        return logps, entropies if rest.get("compute_entropy") else None, None

    def _prompt(self, number: int, row: int) -> list[dict[str, str]]:
        question = self.inputs.questions[number]
        persona = question.personas[row % self.spec.rollouts]
        text = self.inputs.texts[persona] if persona else ""
        return as_messages(ask(question.item, self.inputs.examples, text))

    def _sampled_kl(self, batch: dict[str, Any]) -> float:
        """Mean KL(policy || base) a token, by the k3 estimator, on one rollout of each group."""
        part = slice(None, None, self.spec.rollouts)
        mask = batch["completion_mask"][part]
        ids = torch.cat([batch["prompt_ids"][part], batch["completion_ids"][part]], dim=1)
        seen = torch.cat([batch["prompt_mask"][part], mask], dim=1)
        peft = self.accelerator.unwrap_model(self.model)
        with torch.no_grad():
            now = self._get_per_token_logps_and_entropies(peft, ids, seen, mask.shape[1])[0]
            with peft.disable_adapter():
                base = self._get_per_token_logps_and_entropies(peft, ids, seen, mask.shape[1])[0]
        gap = base - now
        return float(((gap.exp() - gap - 1) * mask).sum() / mask.sum().clamp(min=1))


class Journalist(TrainerCallback):
    """Writes what happens at every step, marks whole checkpoints, and passes a cancel on."""

    def __init__(
        self, spec: RlSpec, journal: Journal, progress: Progress, reward: VerifiedReward | None
    ) -> None:
        self.spec, self.journal, self.progress, self.reward = spec, journal, progress, reward

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Say which step begins."""
        self.progress.check()
        note = f"step {state.global_step + 1} of {self.spec.steps}"
        self.progress.update(TRAIN_STAGE, state.global_step, self.spec.steps, note)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Journal one step."""
        if not state.is_world_process_zero or not logs or "train_runtime" in logs:
            return
        step = int(state.global_step)
        self.journal.save(METRICS, {f"{step:06d}": pack(_step_record(step, logs))})
        shown = _spread_out(self.reward.latest, _SHOWN) if self.reward is not None else []
        parts = {f"{step:06d}-{i}": pack(record) for i, record in enumerate(shown)}
        if parts:
            self.journal.save(ROLLOUTS, parts)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Mark the checkpoint as whole; the pickled settings are not needed to go on."""
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            (folder / "training_args.bin").unlink(missing_ok=True)
            (folder / MARK).touch()


def _rows(inputs: RlInputs) -> list[dict[str, Any]]:
    """The data set of trl: the bare prompts, which it never asks as they are, and their numbers."""
    return [
        {"prompt": as_messages(ask(q.item, inputs.examples)), "number": n}
        for n, q in enumerate(inputs.questions)
    ]


def common_settings(spec: RlSpec, model: LocalModel, folder: Path) -> dict[str, Any]:
    """What the trainers of all arms are told."""
    on_cpu = model.model.device.type == "cpu"
    return {
        "output_dir": str(folder),
        "max_steps": spec.steps,
        "learning_rate": spec.learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0,
        "max_grad_norm": 1.0,
        "weight_decay": 0.0,
        "seed": spec.seed,
        "use_cpu": on_cpu,
        "bf16": not on_cpu and model.model.dtype == torch.bfloat16,
        "gradient_checkpointing": not on_cpu,
        "save_strategy": "steps",
        "save_steps": spec.save_every,
        "save_total_limit": 2,
        "logging_steps": 1,
        "logging_first_step": True,
        "disable_tqdm": True,
        "report_to": "none",
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": not on_cpu,
    }


def _config(spec: RlSpec, model: LocalModel, folder: Path) -> GRPOConfig:
    batch = spec.prompts * spec.rollouts
    world = processes()
    rows = spec.micro_batch or batch // world
    return GRPOConfig(
        **common_settings(spec, model, folder),
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=max(1, batch // (rows * world)),
        num_generations=spec.rollouts,
        max_completion_length=spec.tokens,
        temperature=spec.temperature,
        beta=spec.kl_weight,
        shuffle_dataset=False,
        use_vllm=spec.use_vllm,
        vllm_mode="colocate",
    )


def _step_record(step: int, logs: Mapping[str, Any]) -> StepRecord:
    def number(key: str) -> float | None:
        value = logs.get(key)
        return None if value is None else float(value)

    return StepRecord(
        step=step,
        reward=number("reward"),
        loss=number("loss"),
        kl=number("kl"),
        length=number("completions/mean_length"),
        clipped=number("completions/clipped_ratio"),
        flat_groups=number("frac_reward_zero_std"),
        entropy=number("entropy"),
        seconds=number("step_time"),
    )


def _spread_out(records: Sequence[RolloutRecord], count: int) -> list[RolloutRecord]:
    """A few of a batch, from different groups."""
    stride = max(1, len(records) // count)
    return list(records[::stride][:count])
