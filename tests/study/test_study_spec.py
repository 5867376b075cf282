"""Specs as YAML, plans before the start, and the command line's answers to bad input."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.study_parts import small_tasks

from prism_core.cli.main import main
from prism_core.errors import InputError
from prism_core.prism.forecast import SpeedProbe
from prism_core.study.plan import plan_study, text_tokens
from prism_core.study.spec import AdapterArm, StudySpec, TaskLimit, check_spec, from_yaml, to_yaml
from prism_core.utils.assets import ASSETS

__all__ = ["small_tasks"]
SHIPPED = ASSETS / "studies" / "embedded.yaml"
SPEC = StudySpec(tasks=("t_choice", "t_open", "t_safe"), personas=("math",), n_per_category=0)


def test_yaml_goes_round() -> None:
    spec = StudySpec(
        name="Ein Name: #1",
        tasks=("knowledge", "open"),
        limits=(TaskLimit("open", 3, 40),),
        personas=("math", "critic"),
        lengths=("min", "long"),
        placements=("system", "user"),
        adapters=(AdapterArm("demo"), AdapterArm("demo", 0.25)),
        sweep=True,
        seeds=(1, 2),
        temperature=0.7,
        scoring="letters",
        judges=("self",),
        judgements=("pairwise", "rubric"),
        executor="ray",
        delta=0.1,
    )
    assert from_yaml(to_yaml(spec)) == spec
    assert from_yaml("personas: [math]") == StudySpec(personas=("math",))


def test_the_shipped_spec_is_the_issue_s_study() -> None:
    spec = from_yaml(SHIPPED.read_text(encoding="utf-8"))
    assert len(spec.personas) == 12 + 3 and len(spec.lengths) == 3 and len(spec.placements) == 2
    assert spec.adapters == (AdapterArm("demo"),) and spec.sweep
    assert plan_study(spec).cells == 1 + 15 * 3 * 2 + 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "one YAML mapping"),
        ("- a", "one YAML mapping"),
        ("personas: [math]\nmodel: x", "no field 'model'"),
        ("personas: [math]\nn_per_category: many", "n_per_category is 'many'"),
        ("personas: [math]\ntemperature: nan", "temperature is 'nan'"),
        ("personas: [math]\ntemperature: 9", "between 0 and 5"),
        ("personas: [math]\nlengths: [huge]", "lengths holds 'huge'"),
        ("personas: [math]\nsweep: maybe", "true or false"),
        ("personas: [math, math]", "twice"),
        ("personas: [../x]", "not the name of a persona"),
        ("personas: [math]\ntasks: []", "tasks is empty"),
        ("personas: []", "nothing to compare"),
        ("personas: [math]\nseeds: [1, 2]", "would give the same answers"),
        ("personas: [math]\njudges: [self, embedded, a/b]", "two judges at most"),
        ("personas: [math]\ntasks: [{name: open, n: 3}]", "no field 'n'"),
        ("adapters: [{threshold: 0.5}]", "lacks the field 'reference'"),
        ("adapters: [{reference: demo, threshold: 2}]", "between 0 and 1"),
        ("personas: &a [math]", "anchor"),
        ("personas: !!python/name:os.system []", "tag"),
        ("personas: [math]\nname: {a: b}", "name must be a text, not a mapping"),
    ],
)
def test_a_bad_spec_is_named(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        from_yaml(text)
    assert said in str(caught.value)


def test_long_lists_are_refused_before_they_are_read() -> None:
    began = time.monotonic()
    numbers = ", ".join(map(str, range(9_000)))
    for text, said in (
        (f"personas: [math]\ntemperature: 1\nseeds: [{numbers}]", "seeds has 9,000 entries; at mo"),
        (f"personas: [{numbers}]", "personas has 9,000 entries; at most 5,000"),
        (f"personas: [math, {'stem, ' * 60_000}math]", "more than 20,000 entries by line 1"),
    ):
        with pytest.raises(InputError, match=said):
            from_yaml(text)
    with pytest.raises(InputError, match="at most 1,000"):
        check_spec(replace(SPEC, seeds=tuple(range(10_000)), temperature=1.0))
    assert time.monotonic() - began < 5  # a quadratic look for repetitions took minutes


def test_too_many_cells_are_refused() -> None:
    own = tuple(f"name: p{i}" for i in range(2_000))
    with pytest.raises(InputError, match="12,007 cells"):
        check_spec(
            replace(
                SPEC,
                own_personas=own,
                lengths=("min", "short", "long"),
                placements=("system", "user"),
            )
        )


@pytest.mark.usefixtures("small_tasks")
def test_a_plan_counts_cells_answers_and_tokens() -> None:
    spec = replace(SPEC, personas=("math", "critic"), lengths=("min", "long"), max_new_tokens=10)
    plan = plan_study(spec)
    # Neutral and two personas at two lengths; 12 choices, 3 open and 2 safety items each.
    assert plan.cells == 5 and plan.answers == 5 * 17 and plan.time is None
    # Three open items, one of two turns, and two safety items: 6 answers of 10 tokens a cell.
    assert plan.new_tokens == 5 * 6 * 10
    repeated = plan_study(replace(spec, seeds=(0, 1), temperature=1.0))
    assert repeated.answers == 5 * (12 + 2 * 5) and repeated.new_tokens == 2 * plan.new_tokens
    judged = plan_study(replace(spec, judges=("self",)))
    assert judged.judged == 4 * 5
    (choices, written, _) = plan.tasks
    assert choices.smallest["stem"].words == "no verdict possible: fewer than 20 items"
    assert set(written.smallest) == {"writing", "math"}  # "talk" is graded by no program


def test_a_plan_knows_the_family_that_holm_will_run_over() -> None:
    spec = from_yaml(SHIPPED.read_text(encoding="utf-8"))
    by_task = {task.task: task.smallest for task in plan_study(spec).tasks}
    # 92 cells beside neutral; accuracy has four categories of 24 choices, alignment two of 20
    # safety prompts; ten open questions a category get no verdict and do not count.
    assert {d.comparisons for d in by_task["knowledge"].values()} == {92 * 4}
    assert {d.comparisons for d in by_task["safety"].values()} == {92 * 2}
    assert {d.effect for d in by_task["knowledge"].values()} == {0.645}
    assert {d.effect for d in by_task["open"].values()} == {None}


@pytest.mark.usefixtures("small_tasks")
def test_time_follows_from_measured_speeds() -> None:
    probe = SpeedProbe("m", "f", 48, 100.0, 500.0, 1.0, 0, 0, 0, 10.0)
    spec = replace(SPEC, max_new_tokens=10)
    plan = plan_study(spec, probe)
    assert plan.time is not None
    reading = plan.prompt_tokens / 500.0
    assert plan.time.high == pytest.approx(reading + plan.new_tokens / 100.0)
    assert plan.time.low == pytest.approx(reading + 0.5 * plan.new_tokens / 100.0)
    assert text_tokens("x" * 42) == 10


def test_cost_is_linear_in_n() -> None:
    spec = StudySpec(personas=("math",), tasks=("knowledge",))
    answers = [plan_study(replace(spec, n_per_category=n)).answers for n in (10, 20, 40)]
    assert answers == [2 * 4 * 10, 2 * 4 * 20, 2 * 4 * 40]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "none.yaml", "--out", "{tmp}/o"], "no spec at"),
        (["run", "{tmp}/bad.yaml", "--out", "{tmp}/o"], "no field 'colour'"),
        (["run", "{tmp}/nobody.yaml", "--out", "{tmp}/o"], "no persona 'nobody'"),
        (["run", "{tmp}/good.yaml", "--out", "{tmp}"], "not empty"),
        (["run", "{tmp}/good.yaml", "--out", "{tmp}/none", "--resume"], "no study to resume"),
        (["run", "{tmp}/good.yaml"], "--out"),
        (["run", "{tmp}/bytes.yaml", "--out", "{tmp}/o"], "not a text in UTF-8"),
        (["plan", "{tmp}/task.yaml"], "no task 'cooking'"),
        (["table", "{tmp}/none"], "no study at"),
        (["table", "{tmp}/good.yaml"], "not a readable study"),
        (["plot", "{tmp}/good.yaml", "--figure", "pie", "--html", "x"], "no figure 'pie'"),
        (["plot", "{tmp}/none", "--html", "{tmp}/x.html"], "no study at"),
        (["export", "{tmp}/none", "{tmp}/x.csv"], "no study at"),
        ([], "ACTION"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good.yaml").write_text("personas: [math]")
    (tmp_path / "bad.yaml").write_text("personas: [math]\ncolour: red")
    (tmp_path / "nobody.yaml").write_text("personas: [nobody]")
    (tmp_path / "task.yaml").write_text("personas: [math]\ntasks: [cooking]")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    try:
        status = main(["study", *(a.format(tmp=tmp_path) for a in arguments)])
    except SystemExit as left:
        status = int(left.code or 0)
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert said in err and len(err.strip().splitlines()) == 1


@pytest.mark.usefixtures("small_tasks")
def test_plan_prints_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s.yaml").write_text("personas: [math]\ntasks: [t_choice]\nn_per_category: 0")
    assert main(["study", "plan", str(tmp_path / "s.yaml"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["cells"], found["answers"]) == (2, 24)
    assert main(["study", "plan", str(tmp_path / "s.yaml")]) == 0
    assert "stem: n=6" in capsys.readouterr().out
