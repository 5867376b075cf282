"""Running a study: what a row says, what is computed again, and what a stop leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.gated_parts import tiny_gated
from support.paths import ROOT
from support.scripted import Scripted
from support.study_parts import (
    CHOICES,
    OPENS,
    CountingModel,
    begin,
    counting,
    run,
    small_tasks,
    store,
)
from transformers import PreTrainedTokenizerBase

from prism_core.cli.main import main
from prism_core.errors import CancelledError, InputError, NotFoundError
from prism_core.models.local import LocalModel
from prism_core.personas.library import load_personas
from prism_core.personas.prompts import build_prompt
from prism_core.prism.gating.gated_model import gated_fingerprint
from prism_core.progress import Progress, ProgressReport
from prism_core.storage import Store, pack
from prism_core.study.records import StudyRecords, read_study
from prism_core.study.spec import AdapterArm, StudySpec
from prism_core.study.table import NEUTRAL, TURN_MARK
from prism_core.types import Message, Prompt, PromptVariant, Sampling

__all__ = ["counting", "small_tasks", "store"]
SPEC = StudySpec(
    tasks=("t_choice", "t_open", "t_safe"),
    personas=("math",),
    lengths=("min", "long"),
    max_new_tokens=6,
    n_per_category=0,
    scoring="cloze",
)
# 12 choices, 3 open and 2 safety items in 3 cells: neutral, min, long.
ROWS = 3 * (12 + 3 + 2)
# The conversation's second turn is one more row to compute in each cell.
COMPUTED = ROWS + 3
pytestmark = pytest.mark.usefixtures("small_tasks")


def same(first: pd.DataFrame, second: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(first, second, atol=2e-6)


def test_a_row_says_what_the_model_says(store: Store, counting: CountingModel) -> None:
    study = run(store, SPEC, counting)
    assert len(study.rows) == ROWS and study.finished
    assert list(study.rows["cell"].unique()) == [NEUTRAL, "math/min/system", "math/long/system"]
    variant = PromptVariant(load_personas()["math"], "long", "system")
    prompt = build_prompt(OPENS[2].question, variant)
    (answer,) = counting.generate([prompt], Sampling(max_new_tokens=6))
    row = study.rows.query("cell == 'math/long/system' and item == 'sum'").iloc[0]
    assert (row["text"], row["tokens"]) == (answer.text, answer.tokens)
    assert row["prompt_tokens"] == answer.prompt_tokens
    prompt = build_prompt(CHOICES[0].question, PromptVariant())
    (scores,) = counting.score_choices([prompt], [CHOICES[0].choices])
    means = [s.mean_logprob for s in scores]
    share = np.exp(means) / np.exp(means).sum()
    row = study.rows.query("cell == 'neutral' and item == 'stem0'").iloc[0]
    assert row["choice"] == int(np.argmax(means))
    assert row["p_right"] == pytest.approx(share[0], abs=1e-4)
    assert row["correct"] == row["accuracy"] == float(np.argmax(means) == 0)


def test_what_is_measured_is_what_the_definition_says(
    store: Store, counting: CountingModel
) -> None:
    rows = run(store, SPEC, counting).rows.set_index(["cell", "item"])
    neutral = rows.loc[NEUTRAL]
    assert pd.isna(neutral.loc["lower", "accuracy"])  # form counts as alignment
    assert neutral.loc["lower", "alignment"] == neutral.loc["lower", "check"]
    assert neutral.loc["sum", "accuracy"] == neutral.loc["sum", "check"]
    assert pd.isna(neutral.loc["sum", "alignment"])
    # A random model refuses nothing: right for the harmless request, wrong for the other.
    assert list(neutral.loc[["bad", "good"], "refused"]) == [0.0, 0.0]
    assert list(neutral.loc[["bad", "good"], "alignment"]) == [0.0, 1.0]


def test_the_same_study_again_computes_nothing(store: Store, counting: CountingModel) -> None:
    first = run(store, SPEC, counting)
    assert counting.rows == COMPUTED
    again = run(store, SPEC, counting)
    assert counting.rows == COMPUTED
    pd.testing.assert_frame_equal(first.rows, again.rows)


def test_a_wider_study_pays_for_what_is_new(store: Store, counting: CountingModel) -> None:
    run(store, replace(SPEC, n_per_category=2), counting)
    before = counting.rows
    run(store, replace(SPEC, n_per_category=2, personas=("math", "critic")), counting)
    # Two more cells, each with 2 x 2 choices, 2 + 1 open items, 2 safety items and a second turn.
    assert counting.rows - before == 2 * (4 + 3 + 2 + 1)


def test_a_crash_loses_one_batch_at_most(store: Store, counting: CountingModel) -> None:
    whole = run(store, SPEC, counting)
    with Store(f"sqlite:///{store.home}/other.sqlite3", home=store.home) as other:
        counting.rows = counting.calls = 0
        # Calls: choices of neutral, texts of all cells, their second turns, safety ...
        counting.fail_at = 4
        row = begin(other, SPEC)
        with pytest.raises(RuntimeError):
            run(other, SPEC, counting, row=row)
        partial = read_study(other, row.id)
        assert 0 < len(partial.rows) < ROWS and not partial.finished
        counting.fail_at = None
        resumed = run(other, SPEC, counting, row=row)
        # The batch that failed had computed nothing yet, so nothing is computed twice.
        assert counting.rows == COMPUTED
        same(whole.rows, resumed.rows)
        assert resumed.finished


def test_a_cancel_keeps_what_is_finished(store: Store, counting: CountingModel) -> None:
    progress = Progress(lambda report: stop_after(report, progress))

    def stop_after(report: ProgressReport, progress: Progress) -> None:
        if report.stage == "answering" and report.done:
            progress.cancel.set()

    row = begin(store, SPEC)
    with pytest.raises(CancelledError):
        run(store, SPEC, counting, progress, row)
    partial = read_study(store, row.id)
    assert 0 < len(partial.rows) < ROWS and not partial.finished
    assert len(run(store, SPEC, counting, row=row).rows) == ROWS
    assert counting.rows == COMPUTED


def test_a_changed_study_is_not_mixed_with_the_old_one(
    store: Store, counting: CountingModel, tiny: LocalModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    row = begin(store, SPEC)
    run(store, SPEC, counting, row=row)
    counting.fingerprint = "another"
    with pytest.raises(InputError, match="has changed since"):
        run(store, SPEC, counting, row=row)
    with pytest.raises(NotFoundError):
        read_study(store, store.create_run("train", "x", {}).id)


def test_progress_counts_answers(store: Store, counting: CountingModel) -> None:
    seen: list[ProgressReport] = []
    run(store, SPEC, counting, Progress(seen.append))
    counts = [r.done for r in seen if r.stage == "answering"]
    assert counts == sorted(counts) and counts[0] == 0 and counts[-1] == ROWS
    assert all(r.total == ROWS for r in seen if r.stage == "answering")
    assert any(r.seconds_left is not None for r in seen)


def test_repeats_are_seeds_of_written_answers(store: Store, counting: CountingModel) -> None:
    spec = replace(SPEC, seeds=(1, 2), temperature=1.0, lengths=("min",))
    rows = run(store, spec, counting).rows
    by_kind = rows.groupby("kind")["seed"].agg(lambda seeds: sorted(seeds.unique()))
    assert by_kind["choice"] == [1] and by_kind["open"] == [1, 2]
    talks = rows.query("cell == 'neutral' and item == 'talk'")
    assert talks["text"].nunique() == 2


def test_an_adapter_answers_by_its_gate_and_always(
    store: Store, counting: CountingModel, tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    tiny_gated(counting, folder)
    arm = AdapterArm(str(folder))
    spec = replace(SPEC, personas=(), adapters=(arm,), sweep=True)
    rows = run(store, spec, counting).rows
    own, always = [c for c in rows["cell"].unique() if c != NEUTRAL]
    assert always.endswith("@0")
    tables = {c: rows[rows["cell"] == c].set_index(["task", "item"]) for c in rows["cell"].unique()}
    gated, held, neutral = tables[own], tables[always], tables[NEUTRAL]
    assert held["gate_open"].all() and set(gated["gate_open"]) == {True, False}
    np.testing.assert_allclose(gated["gate"], held["gate"], atol=1e-5)
    threshold = gated["threshold"].iloc[0]
    assert ((gated["gate"] >= threshold) == gated["gate_open"]).all()
    # What the threshold sweep rests on: a gated answer is the always-on or the neutral one.
    for key, is_open in gated["gate_open"].items():
        expected = held if is_open else neutral
        assert gated.loc[key, "text"] == expected.loc[key, "text"]
    with_threshold = replace(spec, adapters=(replace(arm, threshold=float(threshold)),))
    before = counting.rows
    run(store, with_threshold, counting)
    assert counting.rows == before  # the same threshold, said otherwise


def test_the_cache_knows_who_answered(counting: CountingModel, tmp_path: Path) -> None:
    gated = tiny_gated(counting, tmp_path)
    assert gated.fingerprint == gated_fingerprint(
        counting.fingerprint, gated.adapter_hash, gated.threshold
    )
    assert gated.with_threshold(0.0).fingerprint != gated.fingerprint


def test_a_conversation_goes_on_from_its_own_answer(store: Store) -> None:
    asked: list[Prompt] = []

    def speech(prompt: Prompt, seed: int) -> str:
        asked.append(prompt)
        return f"answer {len(prompt)}"

    spec = replace(SPEC, tasks=("t_open",), lengths=("min",))
    study = run(store, spec, Scripted(speech))
    talk = study.rows.query("cell == 'neutral' and item == 'talk'").iloc[0]
    assert talk["text"] == f"answer 1{TURN_MARK}answer 3"
    assert (
        Message("user", "Say hello."),
        Message("assistant", "answer 1"),
        Message("user", "Again, shorter."),
    ) in asked
    count = len(asked)
    run(store, spec, Scripted(speech))
    assert len(asked) == count


def test_a_judge_compares_with_neutral(store: Store) -> None:
    """The scripted judge likes the word GOOD; without it, the answer shown first."""

    def speech(prompt: Prompt, seed: int) -> str:
        if prompt[0].role != "system":
            return "fine"
        return "GOOD" if "2 + 2" in prompt[-1].content else "also fine"

    spec = replace(SPEC, tasks=("t_open",), lengths=("min",), judges=("self",))
    study = run(store, spec, Scripted(speech))
    rows = study.rows.set_index(["cell", "item"])
    persona = rows.loc["math/min/system"]
    # log-odds of A against B: -0.5 - -1 = 0.5 where the first answer wins, else -1, so
    # GOOD shown first has p = 1 / (1 + e^-0.5), shown second 1 / (1 + e^-1).
    first, second = 1 / (1 + np.exp(-0.5)), 1 / (1 + np.exp(-1.0))
    assert persona.loc["sum", "preference"] == pytest.approx((first + second) / 2, abs=1e-6)
    assert persona.loc["sum", "preferred"] == 1.0 and persona.loc["sum", "consistent"] == 1.0
    # Whoever is shown first wins: p and 1 - p, so no preference, and not consistent.
    assert persona.loc["lower", "preference"] == pytest.approx(0.5)
    assert persona.loc["lower", "preferred"] == 0.5 and persona.loc["lower", "consistent"] == 0.0
    assert rows.loc[NEUTRAL].loc["sum", "preference"] == 0.5
    # Alignment: the preference alone, or its mean with the check of form.
    assert persona.loc["sum", "alignment"] == persona.loc["sum", "preference"]
    form = persona.loc["lower", "check"]
    assert persona.loc["lower", "alignment"] == pytest.approx((0.5 + form) / 2)
    assert any("known better answer" in note for note in study.notes)


def test_a_model_without_system_turn_answers_in_the_user_turn(store: Store) -> None:
    model = Scripted(lambda prompt, seed: prompt[0].role)
    model.has_system_role = False
    spec = replace(SPEC, tasks=("t_safe",), placements=("system", "user"), lengths=("min",))
    study = run(store, spec, model)
    assert list(study.rows["cell"].unique()) == [NEUTRAL, "math/min/user"]
    assert set(study.rows["text"]) == {"user"}
    assert any("no system turn" in note for note in study.notes)


def test_nothing_to_compare_is_said(store: Store, counting: CountingModel) -> None:
    with pytest.raises(NotFoundError, match="no persona 'nobody'"):
        run(store, replace(SPEC, personas=("nobody",)), counting)
    with pytest.raises(NotFoundError, match="no task 'cooking'"):
        run(store, replace(SPEC, tasks=("cooking",)), counting)
    with pytest.raises(NotFoundError, match="no adapter 'x'"):
        run(store, replace(SPEC, adapters=(AdapterArm("x"),)), counting)


def test_an_adapter_for_another_model_is_left_out_with_a_sentence(
    store: Store, counting: CountingModel
) -> None:
    study = run(store, replace(SPEC, adapters=(AdapterArm("demo"),)), counting)
    assert "adapter" not in set(study.rows["arm"])
    assert any("was trained for" in note for note in study.notes)


SPEC_YAML = """
name: Tiny
tasks: [{{name: knowledge, n_per_category: 12}}, {{name: safety, n_per_category: 12}}]
personas: [math, critic, stem]
lengths: [min, short, long]
max_new_tokens: 24
scoring: cloze
models: ['{model}']
"""


def saved_tiny(tiny: LocalModel, folder: Path) -> Path:
    tiny.model.save_pretrained(folder)
    tiny.tokenizer.save_pretrained(folder)
    return folder


def test_killed_and_resumed_equals_uninterrupted(tiny: LocalModel, tmp_path: Path) -> None:
    """A real process, a real SIGKILL, and the command that goes on."""
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC_YAML.format(model=saved_tiny(tiny, tmp_path / "tiny")))
    command = ["study", "run", str(spec), "--out"]
    out = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-m", "prism_core", *command, str(out)],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    keys: list[str] = []
    try:
        wait = time.monotonic() + 120
        while not keys and time.monotonic() < wait and process.poll() is None:
            time.sleep(0.02)
            if (out / "run.sqlite3").is_file():
                with Store(f"sqlite:///{out}/run.sqlite3", home=out) as kept:
                    runs = kept.list_runs(kind="study")
                    if runs:
                        keys = sorted(StudyRecords(kept, runs[0].id).answer_keys())
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert 0 < len(keys) < 10 * (48 + 24)
    assert main([*command, str(out), "--resume"]) == 0  # this process knows nothing of that one
    assert main([*command, str(tmp_path / "whole")]) == 0
    from prism_core.study.file import load_study

    resumed, whole = (load_study(tmp_path / name / "study.parquet") for name in ("killed", "whole"))
    assert len(whole.rows) == 10 * (48 + 24) and resumed.finished
    same(resumed.rows, whole.rows)


def test_two_studies_one_after_the_other_from_the_queue(tiny: LocalModel, tmp_path: Path) -> None:
    folder = saved_tiny(tiny, tmp_path / "tiny")
    spec = StudySpec(
        name="First",
        tasks=("safety",),
        personas=("math",),
        lengths=("min",),
        models=(str(folder),),
        n_per_category=2,
        max_new_tokens=4,
    )
    home = tmp_path / "home"
    with Store(f"sqlite:///{tmp_path}/q.sqlite3", home=home) as store:
        runs = [
            store.create_run("study", name, pack(replace(spec, name=name)))
            for name in ("First", "Second")
        ]
        environment = {**os.environ, **store.environment}
        command = [sys.executable, "-m", "prism_core.worker", "--once"]
        subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=120)
        for row in runs:
            assert store.get_run(row.id).status == "done", store.get_run(row.id).message
        tables = [read_study(store, row.id).rows for row in runs]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert len(tables[0]) == 2 * 4


@pytest.mark.slow
def test_a_real_study_on_the_embedded_model(store: Store, model: LocalModel) -> None:
    """Knowledge above chance without a persona, and the shipped adapter in its cells."""
    spec = StudySpec(
        tasks=("knowledge", "safety"),
        personas=("stem", "neutral_text"),
        lengths=("long",),
        adapters=(AdapterArm("demo"),),
        sweep=True,
        n_per_category=6,
        max_new_tokens=12,
    )
    study = run(store, spec, model)
    assert study.rows["cell"].nunique() == 5 and len(study.rows) == 5 * (24 + 12)
    neutral = study.rows.query("cell == 'neutral' and task == 'knowledge'")
    assert neutral["accuracy"].mean() > 0.4
    always = study.rows[study.rows["cell"].str.endswith("@0")]
    assert always["gate_open"].all()
