"""GRPO by trl on a LoRA by peft: our rewards, our rollouts, our journal (PerMix-RLVR, section 3).

Row i of trl's data set is question i of the run. Checkpoints are trl's own: the LoRA, the
optimiser, the schedule and the random numbers are restored from them, and a resumed run ends with
the very weights of one that was never stopped.
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
from collections.abc import Sequence
from typing import Any, cast

import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from prism_core.lora.training import stoppable_training
from prism_core.rl.group_logprobs import can_share, shared_logps
from prism_core.rl.records import Question, RlInputs, RolloutRecord
from prism_core.rl.rollouts import Rollouts, as_messages, as_prompt
from prism_core.rl.spec import RlSpec
from prism_core.rl.tasks import ask
from prism_core.rl.trainer_hooks import plain_forward, processes
from prism_core.rl.training import JournalCallback, Training, common_settings, train_on
from prism_core.scorers.graders import grade
from prism_core.types import Sampling

_KL_EVERY = 5
"""Steps between two measurements of the KL where it has no weight in the loss."""


def train_grpo(work: Training) -> None:
    """Train the LoRA in place, from the last whole checkpoint if there is one.

    Raises:
        CancelledError: stopped on request; the last checkpoint is kept.
        PrismError: the reward could not be computed; the last checkpoint is kept.
    """
    spec, model = work.spec, work.model
    reward = VerifiedReward(work.inputs.questions)
    sampling = Sampling(max_new_tokens=spec.tokens, temperature=spec.temperature)
    rollouts = Rollouts(model, sampling, spec.seed, work.progress.cancel)
    with (
        plain_forward(model.model),
        stoppable_training(model.model, work.progress),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # trl says that rollout_func is experimental
        trainer = PersonaTrainer(
            spec,
            work.inputs,
            model=work.peft,
            reward_funcs=[reward],
            args=_config(work),
            train_dataset=Dataset.from_list(_rows(work.inputs)),
            processing_class=model.tokenizer,
            rollout_func=None if spec.use_vllm else rollouts,
            callbacks=[JournalCallback(work, lambda: reward.latest)],
        )
        train_on(trainer, work)


class VerifiedReward:
    """Rewards a right answer with 1 and any other with 0, and keeps the reasons for the page."""

    __name__ = "verified"

    def __init__(self, questions: Sequence[Question]) -> None:
        self.questions = questions
        self.latest: list[RolloutRecord] = []

    def __call__(
        self, prompts: list[Any], completions: list[Any], number: list[int], **_: Any
    ) -> list[float]:
        """Grade one batch.

        Raises:
            PrismError: an answer cannot be graded.
        """
        records = []
        for messages, completion, n in zip(prompts, completions, number, strict=True):
            item, text = self.questions[n].item, str(completion[0]["content"])
            found = grade(item, text)
            first = as_prompt(messages)[0]
            persona = first.content if first.role == "system" else ""
            reward = float(bool(found.passed))
            records.append(RolloutRecord(item.question, persona, text, reward, found.why))
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
            {"number": n, "prompt": as_messages(self.inputs.prompt(n, i % self.spec.rollouts))}
            for i, n in enumerate((row["number"] for row in inputs), start=first)
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

    def _sampled_kl(self, batch: dict[str, Any]) -> float:
        """Estimate mean KL(policy || base) a token by k3, on one rollout of each group."""
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


def _rows(inputs: RlInputs) -> list[dict[str, Any]]:
    """Build trl's data set: the bare prompts, which are never asked as they are, by number."""
    return [
        {"prompt": as_messages(ask(q.item, inputs.examples)), "number": n}
        for n, q in enumerate(inputs.questions)
    ]


def _config(work: Training) -> GRPOConfig:
    spec, world = work.spec, processes()
    batch = spec.prompts * spec.rollouts
    rows = spec.micro_batch or batch // world
    return GRPOConfig(
        **common_settings(work),
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
