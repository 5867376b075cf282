"""Imports go only downwards: the architecture as a test."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "prism_core"

LAYERS: tuple[str, ...] = (
    # L0: values and numbers
    "__init__ errors types stats",
    # L1: text, records and what keeps them
    """generator progress records thoughts train_spec prompts plain_yaml personas query_text
    spreadsheet storage journal demo memory splits study_spec study_yaml study_table study_file
    checks tasks refusal graders persona_pool rl_tasks rl_spec rl_mixing rl_records
    persona_gym stability lottery robustness""",
    # L2: models, and what is put on them
    """cache_folder hub embedded sources weights kv_cache sampling chat prefill decoding scoring
    models packed_choices
    remote remote_answer remote_errors losses adapters gate gate_fitting lora_map lora_training
    forcing teacher student training_plan stopping checkpoints teacher_kl answer_kl cached_model
    packed lean lean_lora lean_prefill slot_cache speculation""",
    # L3: models that decide, and judgements
    """gated_model bundle judges judge_check metrics choice_scoring refusal_judge
    always_on rl_probe rl_eval rl_logps rl_rollouts rl_guards stability_run fidelity""",
    # L4: the five stages, the baselines, and what one question needs
    """queries answers verification gate_report gate_training distill_report distillation figures
    comparison routing systems rivals ablation evaluation run_parts speed_probe estimate
    study_cells study_parts study_work study_answers study_scores study_engine study_cache
    study_records study_judging study_plan study_export study_versions study_effects study_summary
    rl_trainer rl_sft""",
    # L5: stages in order, and the ways to start them
    """study study_ray lm_eval lm_eval_model rl contest pipeline past_run worker worker_watch
    commands cli __main__""",
)
"""From the ground up. A module may import from its own layer and from those below it."""

STAGES = {"queries", "answers", "verification", "gate_training", "distillation"}
"""No stage imports another: data goes through records."""


def name_of(path: Path) -> str:
    """The module's name below `prism_core`, packages taken whole."""
    return path.relative_to(CORE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Full dotted names of what a file imports anywhere, functions included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def core_imports() -> dict[str, set[str]]:
    """Which modules of `prism_core` each of them imports."""
    names = {name_of(p) for p in CORE.rglob("*.py")}
    graph: dict[str, set[str]] = {name: set() for name in names}
    for path in CORE.rglob("*.py"):
        parts = (full.split(".") for full in imported(path))
        used = {p[1] for p in parts if p[0] == "prism_core" and len(p) > 1}
        graph[name_of(path)] |= (used & names) - {name_of(path)}
    return graph


PATHS = sorted(CORE.rglob("*.py"))


@pytest.mark.parametrize("path", PATHS, ids=lambda p: str(p.relative_to(CORE)))
def test_core_never_imports_the_app_or_gradio(path: Path) -> None:
    tops = {name.split(".")[0] for name in imported(path)}
    assert not tops & {"gradio", "app"}, f"{path.name} imports {tops & {'gradio', 'app'}}"


def test_every_module_has_a_layer() -> None:
    placed = [name for layer in LAYERS for name in layer.split()]
    assert len(placed) == len(set(placed))
    assert set(core_imports()) == set(placed)


def test_imports_go_only_downwards() -> None:
    level = {name: i for i, layer in enumerate(LAYERS) for name in layer.split()}
    upwards = {
        f"{name} (L{level[name]}) imports {used} (L{level[used]})"
        for name, uses in core_imports().items()
        for used in uses
        if level[used] > level[name]
    }
    assert not upwards


def test_no_module_imports_itself_in_a_circle() -> None:
    list(TopologicalSorter(core_imports()).static_order())  # raises CycleError


def test_no_stage_imports_another() -> None:
    graph = core_imports()
    crossings = {stage: graph[stage] & STAGES for stage in STAGES if graph[stage] & STAGES}
    assert not crossings
