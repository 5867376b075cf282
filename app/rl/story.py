"""What is known of a reinforcement-learning run, read from the store in one go."""

from __future__ import annotations

from dataclasses import dataclass

from prism_core.rl.probe import LevelRate
from prism_core.rl.records import METRICS, ROLLOUTS, RolloutRecord, StepRecord
from prism_core.rl.run import LEVEL_STAGE, RlResult, load_rl_result
from prism_core.rl.spec import RlSpec
from prism_core.storage import RunRow, Store, unpack
from prism_core.storage.journal import StoreJournal

SHOWN_ROLLOUTS = 8


@dataclass(frozen=True)
class RlStory:
    """One run as it stands; what it has not done yet is missing."""

    run: RunRow
    spec: RlSpec
    probe: tuple[LevelRate, ...]
    steps: tuple[StepRecord, ...]
    rollouts: tuple[tuple[int, RolloutRecord], ...]
    """The latest sample answers with their steps, newest first."""
    result: RlResult | None

    @property
    def mark(self) -> str:
        """A text that changes when there is something new to draw."""
        return f"{self.run.id} {len(self.steps)} {len(self.probe)} {self.run.status}"


def read_rl_story(store: Store, run: RunRow) -> RlStory:
    """Read what is known of a run.

    Raises:
        InputError: what the store holds is not what this version writes.
    """
    steps = store.get_values(run.id, METRICS, StepRecord)
    keys = sorted(store.record_keys(run.id, ROLLOUTS))[-SHOWN_ROLLOUTS:]
    parts = store.get_records(run.id, ROLLOUTS) if keys else {}
    rollouts = [(int(k.split("-")[0]), unpack(RolloutRecord, parts[k])) for k in reversed(keys)]
    return RlStory(
        run=run,
        spec=unpack(RlSpec, dict(run.spec)),
        probe=tuple(store.get_values(run.id, LEVEL_STAGE, LevelRate).values()),
        steps=tuple(steps[k] for k in sorted(steps)),
        rollouts=tuple(rollouts),
        result=load_rl_result(StoreJournal(store, run.id)),
    )
