"""The harness's numbers equal ours: the same items, model, adapter and gate, asked both ways."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.paths import ROOT

from prism_core.errors import InputError, NotFoundError
from prism_core.lm_eval.__main__ import register
from prism_core.models.local import LocalModel
from prism_core.prism.bundle import load_bundle
from prism_core.study.resolve import find_adapter
from prism_core.types import Message, Sampling

lm_eval = pytest.importorskip("lm_eval")
SYSTEM = "You are a patient teacher who answers with the bare fact. " * 4
ITEMS = [
    ("What is the capital of France?", ["Paris", "Berlin", "Rome", "Madrid"], 0),
    ("Which animal barks?", ["A cat", "A dog", "A fish", "A cow"], 1),
    ("How many legs does a spider have?", ["six", "four", "eight", "ten"], 2),
    ("What do bees make?", ["Milk", "Silk", "Wool", "Honey"], 3),
    ("Which planet do we live on?", ["Mars", "Earth", "Venus", "Saturn"], 1),
    ("Tell me, matey, what is a ship's kitchen called?", ["A galley", "A hull", "A mast"], 0),
]
CHOICES = """
task: prism_choices
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
target_delimiter: ""
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
"""
TEXTS = """
task: prism_texts
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{choices[answer]}}}}"
generation_kwargs: {{until: [], max_gen_toks: 12, do_sample: false}}
metric_list: [{{metric: exact_match}}]
"""


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    file = folder / "items.jsonl"
    lines = [json.dumps({"question": q, "choices": c, "answer": a}) for q, c, a in ITEMS]
    file.write_text("\n".join(lines))
    (folder / "choices.yaml").write_text(CHOICES.format(file=file))
    (folder / "texts.yaml").write_text(TEXTS.format(file=file))
    return folder


def prompts() -> list[tuple[Message, ...]]:
    return [(Message("system", SYSTEM), Message("user", q)) for q, _, _ in ITEMS]


def run_harness(model: object, tasks: Path, names: list[str]) -> dict:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    return simple_evaluate(
        model=model,
        tasks=names,
        task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
        apply_chat_template=True,
        system_instruction=SYSTEM,
        bootstrap_iters=0,
        log_samples=True,
    )


@pytest.mark.parametrize("adapter", [None, "demo"])
def test_harness_and_we_measure_the_same(
    model: LocalModel, tasks: Path, adapter: str | None
) -> None:
    from prism_core.lm_eval.model import PrismLM

    # At this threshold the gate opens for some of the six questions and not for others.
    gated = None if adapter is None else load_bundle(find_adapter(adapter)[0], model)
    readings = [] if gated is None else sorted(gated.probabilities(prompts()))
    threshold = None if gated is None else (readings[2] + readings[3]) / 2
    speaker = model if gated is None else gated.with_threshold(float(threshold or 0.0))
    harness = PrismLM(adapter=adapter, threshold=threshold, model=model)
    results = run_harness(harness, tasks, ["prism_choices", "prism_texts"])

    ours = speaker.score_choices(prompts(), [c for _, c, _ in ITEMS])
    for sample in results["samples"]["prism_choices"]:
        mine = [score.logprob for score in ours[sample["doc_id"]]]
        theirs = [float(one[0]) for one in sample["filtered_resps"]]
        assert theirs == pytest.approx(mine, abs=1e-3)
    picked = [max(range(len(row)), key=lambda j: row[j].logprob) for row in ours]
    right = sum(p == a for p, (_, _, a) in zip(picked, ITEMS, strict=True))
    assert results["results"]["prism_choices"]["acc,none"] == pytest.approx(right / len(ITEMS))

    written = speaker.generate(prompts(), Sampling(max_new_tokens=12))
    for sample in results["samples"]["prism_texts"]:
        assert sample["resps"][0][0].strip() == written[sample["doc_id"]].text
    if adapter:
        info = harness.get_model_info()
        # Three of six contexts open, once for the choices and once for the texts.
        assert (info["gate_opened"], info["gate_read"]) == (6, 12)


def test_rolling_is_the_sum_over_all_tokens(tiny: LocalModel) -> None:
    from lm_eval.api.instance import Instance

    from prism_core.lm_eval.model import PrismLM

    harness = PrismLM(model=tiny, max_length=16)
    text = "The bees fly out in the morning and come home with honey for the winter, every year."
    ids = harness.tok_encode(text)
    assert len(ids) > 16  # more than one window
    request = Instance("loglikelihood_rolling", {}, (text,), 0)
    (found,) = harness.loglikelihood_rolling([request])
    # By hand: every token once, behind as much of what stands before it as 16 tokens allow.
    total, start = 0.0, harness.prefix_token_id
    for i in range(len(ids)):
        window = i // 16
        if window == len(ids) // 16 and window:  # the last window is filled up to the left
            before = ids[max(0, len(ids) - 17) : i]
        else:
            before = ([start] if window == 0 else [ids[16 * window - 1]]) + ids[16 * window : i]
        with torch.inference_mode():
            logits = tiny.model(torch.tensor([before])).logits[0, -1].float()
        total += float(logits.log_softmax(-1)[ids[i]])
    assert found == pytest.approx(total, rel=1e-4)


def test_greedy_and_stops(tiny: LocalModel) -> None:
    from lm_eval.api.instance import Instance

    from prism_core.lm_eval.model import PrismLM

    harness = PrismLM(model=tiny)
    asked = {"until": [], "max_gen_toks": 8, "do_sample": False}
    (text,) = harness.generate_until([Instance("generate_until", {}, ("Hello there", asked), 0)])
    # What greedy decoding wrote is greedy; anything else is not.
    pairs = [("Hello there", text), ("Hello there", " zzz qqq")]
    scored = harness.loglikelihood([Instance("loglikelihood", {}, p, 0) for p in pairs])
    assert scored[1][1] is False and scored[0][0] > scored[1][0]
    letter = text.strip()[2]
    (cut,) = harness.generate_until(
        [Instance("generate_until", {}, ("Hello there", {**asked, "until": [letter]}), 0)]
    )
    assert letter not in cut and text.startswith(cut)


def test_template_without_system_turn_keeps_the_instruction(tiny: LocalModel) -> None:
    from prism_core.lm_eval.model import PrismLM

    harness = PrismLM(model=tiny)
    harness.base.has_system_role = False
    try:
        text = harness.apply_chat_template(
            [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
        )
    finally:
        harness.base.has_system_role = True
    assert "Be brief.\n\nWhy?" in text


def test_bad_arguments_are_named(tiny: LocalModel) -> None:
    from prism_core.lm_eval.model import PrismLM

    with pytest.raises(InputError, match="gate is 'ajar'"):
        PrismLM(model=tiny, gate="ajar")
    with pytest.raises(NotFoundError, match="no adapter 'nobody'"):
        PrismLM(model=tiny, adapter="nobody")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_missing_is_not_insisted_on() -> None:
    """The harness names `cuda:0` by default."""
    from prism_core.lm_eval.model import device_of

    assert device_of("cuda:0") is None and device_of(None) is None
    assert device_of("cpu") == torch.device("cpu")


def test_registering_twice_is_harmless() -> None:
    from lm_eval.api.registry import get_model

    register()
    register()
    from prism_core.lm_eval.model import PrismLM

    assert get_model("prism") is PrismLM


@pytest.mark.slow
def test_command_line_runs_the_harness(tasks: Path, tmp_path: Path) -> None:
    """`lm_eval --model prism --model_args pretrained=...,adapter=...`, in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "prism_core.lm_eval",
        "run",
        "--model",
        "prism",
        "--model_args",
        "pretrained=embedded,adapter=demo,threshold=0.2",
        "--tasks",
        "prism_choices",
        "--include_path",
        str(tasks),
        "--apply_chat_template",
        "--system_instruction",
        SYSTEM,
        "--output_path",
        str(tmp_path),
        "--log_samples",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    (file,) = tmp_path.rglob("results_*.json")
    config = json.loads(file.read_text())["config"]
    assert config["adapter"] and config["gate_threshold"] == 0.2
    model = LocalModel.load("embedded")
    gated = load_bundle(find_adapter("demo")[0], model, 0.2)
    ours = gated.score_choices(prompts(), [c for _, c, _ in ITEMS])
    right = sum(
        max(range(len(row)), key=lambda j, row=row: row[j].logprob) == a
        for row, (_, _, a) in zip(ours, ITEMS, strict=True)
    )
    results = json.loads(file.read_text())["results"]["prism_choices"]
    assert results["acc,none"] == pytest.approx(right / len(ITEMS))
