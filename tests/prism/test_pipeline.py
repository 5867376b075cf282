"""The whole of PRISM on a tiny model: interrupted anywhere, it ends as if it had not been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.paths import TESTS
from support.train_script import SPEC, run_in, some_queries

from prism_core.models.local import LocalModel
from prism_core.prism.ablation.table import AblationTable, load_table
from prism_core.prism.past_run import PastRun, read_run
from prism_core.prism.pipeline import TIME_STAGE, load_result
from prism_core.prism.records import AnswerPair
from prism_core.prism.spec import TrainSpec
from prism_core.storage import Store
from prism_core.storage.folder_store import STORE_FILE
from prism_core.storage.journal import StoreJournal

SCRIPT = TESTS / "support" / "train_script.py"
FILES = ("adapter_model.safetensors", "adapter_config.json", "gate.safetensors")
STAGES = (
    "query_set",
    "answers",
    "verification",
    "gate",
    "distillation_curve",
    "distillation",
    "ablation_answers",
    "ablation_verdicts",
    "ablation_times",
    "ablation",
)
"""Where a run is killed: behind the first part of each that is kept."""


class PowerCut(RuntimeError):
    """Stands for a crash: nothing catches it."""


def crashing(after: int) -> type[StoreJournal]:
    """A journal that fails behind so many saves."""
    left = after

    class Crashing(StoreJournal):
        def save(self, stage: str, parts: Mapping[str, Any]) -> None:
            nonlocal left
            super().save(stage, parts)
            left -= 1
            if left == 0 and stage != TIME_STAGE:
                raise PowerCut(stage)

    return Crashing


def ended(folder: Path, spec: TrainSpec = SPEC) -> tuple[dict[str, bytes], PastRun, Any]:
    """What a finished run left but for the times: its files, its judged pairs, and its table."""
    with Store(f"sqlite:///{folder / STORE_FILE}", home=folder) as store:
        journal = StoreJournal(store, store.list_runs(kind="train")[0].id)
        table, result = load_table(journal), load_result(journal)
        past = read_run(spec, journal)
    assert table is not None
    assert result is not None
    assert result.has_adapter
    files = {name: (folder / "adapter" / name).read_bytes() for name in FILES}
    judged = tuple(replace(j, pair=timeless(j.pair)) for j in past.judged)
    return files, replace(past, judged=judged), cells_of(table)


def timeless(pair: AnswerPair) -> AnswerPair:
    sides = (
        replace(one, first_token_seconds=None, seconds=0.0) for one in (pair.persona, pair.neutral)
    )
    return AnswerPair(pair.query, *sides)


def cells_of(table: AblationTable) -> dict[tuple[str, str], Any]:
    return {
        (row.system, key): cell
        for row in table.rows
        for key, cell in row.cells.items()
        if key != "seconds"
    }


@pytest.fixture(scope="module")
def whole(tiny: LocalModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    run_in(folder, tiny)
    return folder


def test_all_stages_one_after_another(whole: Path) -> None:
    files, past, cells = ended(whole)
    assert len(past.judged) == len(some_queries())
    ids = {j.pair.query.id for j in past.judged}
    assert past.held_out < ids
    groups = {j.pair.query.subtopic for j in past.judged if j.pair.query.id in past.held_out}
    kept = {j.pair.query.subtopic for j in past.judged if j.pair.query.id not in past.held_out}
    assert not groups & kept  # a group is held out as a whole
    wins = [j for j in past.judged if j.route == "distill"]
    assert len(some_queries()) > len(wins) >= sum(q.wanted is True for q in some_queries())
    systems = {system for system, _ in cells}
    assert systems == {"base", "persona_prompt", "kl_lora", "prism", "random_gate", "oracle_gate"}
    assert files["gate.safetensors"]


def test_crashes_change_nothing(whole: Path, tiny: LocalModel, tmp_path: Path) -> None:
    crashes: list[str] = []
    for _ in range(200):
        try:
            run_in(tmp_path, tiny, kind=crashing(after=7))
            break
        except PowerCut as cut:
            crashes.append(str(cut))
    assert len(crashes) > 3
    assert len(set(crashes)) > 2  # in different stages
    assert ended(tmp_path) == ended(whole)


def test_a_second_round_goes_on_from_the_first(
    whole: Path, tiny: LocalModel, tmp_path: Path
) -> None:
    spec = replace(SPEC, rounds=2)
    crashes = 0
    for _ in range(200):
        try:
            run_in(tmp_path, tiny, spec, crashing(after=20))
            break
        except PowerCut:
            crashes += 1
    assert crashes >= 2
    files, past, _ = ended(tmp_path, spec)
    first = {name: (tmp_path / "round1" / name).read_bytes() for name in FILES}
    once, before, _ = ended(whole)
    assert first == once  # the first round is a run of one round
    assert files[FILES[0]] != first[FILES[0]]
    assert past.held_out == before.held_out
    won = {j.pair.query.id for j in past.judged if j.route == "distill"}
    assert won >= {j.pair.query.id for j in before.judged if j.route == "distill"}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_in_every_stage_it_ends_alike(whole: Path, tmp_path: Path) -> None:
    for stage in (*STAGES, ""):
        command = [sys.executable, str(SCRIPT), str(tmp_path), stage]
        status = subprocess.run(command, env=os.environ, check=False).returncode
        assert status == (-signal.SIGKILL if stage else 0), stage
    assert ended(tmp_path) == ended(whole)
