"""Tasks: the embedded suite, the choice of items, and published benchmarks in their own files."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from support.paths import SHARED_DATA

from prism_core.errors import InputError, NotFoundError
from prism_core.scorers.graders import grade
from prism_core.tasks import TASKS, Item, get_task, item_from_json, item_to_json, pick_items
from prism_core.tasks.benchmark import Benchmark
from prism_core.tasks.choice_benchmarks import DOMAIN

DATA = Path(os.environ.get("PRISM_DATA_DIR") or SHARED_DATA)
BENCHMARKS = [t for t in TASKS.values() if isinstance(t, Benchmark)]


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The real files, where they are."""
    if not DATA.is_dir():
        pytest.skip("no benchmark data: set PRISM_DATA_DIR")
    monkeypatch.setenv("PRISM_DATA_DIR", str(DATA))
    return DATA


def offline(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """No Hub, and this folder for the data."""
    monkeypatch.setenv("PRISM_DATA_DIR", str(folder))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder / "cache"))


def test_the_embedded_suite_has_the_promised_sizes() -> None:
    counts = {n: Counter(i.category for i in get_task(n).load()) for n in TASKS if n in SIZES}
    assert counts == {n: dict.fromkeys(get_task(n).categories, size) for n, size in SIZES.items()}


SIZES = {"knowledge": 60, "open": 10, "safety": 60}


def test_right_answers_stand_in_every_place_equally_often() -> None:
    items = get_task("knowledge").load()
    for domain in get_task("knowledge").categories:
        places = Counter(i.answer for i in items if i.category == domain)
        assert places == {0: 15, 1: 15, 2: 15, 3: 15}  # 60 / 4
    assert all(len(set(i.choices)) == 4 for i in items)


@pytest.mark.parametrize("name", sorted(SIZES))
def test_no_question_comes_twice_and_items_survive_json(name: str) -> None:
    items = get_task(name).load()
    questions = [i.question.casefold() for i in items]
    assert len(set(questions)) == len(questions)
    assert len({i.id for i in items}) == len(items)
    assert tuple(item_from_json(item_to_json(i)) for i in items) == items


def test_most_open_items_are_checked_and_all_have_a_reference() -> None:
    items = get_task("open").load()
    assert sum(i.check is not None for i in items) == 78
    assert all(i.reference for i in items)


def test_picking_is_stratified_seeded_and_nested() -> None:
    task = get_task("knowledge")
    small, large = pick_items(task, 5, seed=3), pick_items(task, 12, seed=3)
    assert Counter(i.category for i in small) == dict.fromkeys(task.categories, 5)
    assert {i.id for i in small} < {i.id for i in large}
    assert pick_items(task, 5, seed=3) == small != pick_items(task, 5, seed=4)
    everything = pick_items(task, None)
    assert len(everything) == 240 and pick_items(task, 10_000) == everything
    with pytest.raises(InputError, match="must be 1 or more"):
        pick_items(task, 0)


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(NotFoundError, match=r"no task 'mmul'.*knowledge"):
        get_task("mmul")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line of JSON"),
        ("[]", "JSON object"),
        ('{"id": "a"}', "needs the fields"),
        ('{"id": 5}', "cannot be"),
        ('{"surprise": 1}', "no field 'surprise'"),
        ('{"id":"a","task":"t","category":"c","kind":"quiz","question":"q"}', "kind 'quiz'"),
        ('{"id":"a","task":"t","category":"c","kind":"choice","question":"q"}', "two choices"),
        ('{"id":"a","task":"t","category":"c","kind":"safety","question":"q"}', "harmful"),
        ('{"id":"a\\u0000","task":"t","category":"c","kind":"open","question":"q"}', "printable"),
        ('{"id":"a","task":"t","category":"c","kind":"open","question":" "}', "empty"),
    ],
)
def test_damaged_items_are_refused_in_words(line: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        item_from_json(line)


def test_mmlu_has_57_subjects_in_four_domains() -> None:
    assert len(DOMAIN) == 57
    assert Counter(DOMAIN.values()) == {
        "stem": 19,
        "humanities": 13,
        "social_sciences": 12,
        "other": 13,
    }


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("mmlu", 456),
        ("gsm8k", 400),
        ("mt_bench", 80),
        ("harmbench", 80),
        ("jailbreakbench", 100),
        ("ifeval", 541),
    ],
)
def test_real_files_are_read(name: str, count: int, data: Path) -> None:
    task = get_task(name)
    assert isinstance(task, Benchmark)
    if not task.local_files():
        pytest.skip(f"{name} is not in {data}")
    items = task.load()
    assert len(items) == count if data == SHARED_DATA else items
    assert {i.category for i in items} <= set(task.categories)
    assert {i.kind for i in items} == {task.kind}


def test_the_last_number_of_a_solution_is_its_answer(data: Path) -> None:
    items = get_task("gsm8k").load()
    solutions = [re.sub(r"<<.*?>>", "", i.reference.rpartition("####")[0]) for i in items]
    graded = [grade(i, text).passed for i, text in zip(items, solutions, strict=True)]
    assert sum(p is True for p in graded) >= 0.99 * len(items)


def test_gsm8k_references_pass_and_other_numbers_fail(data: Path) -> None:
    for item in get_task("gsm8k").load()[:100]:
        assert grade(item, item.reference).passed is True
        assert grade(item, item.reference + "\nWait, the answer is 987654.").passed is False


def test_mt_bench_has_two_turns_and_references_where_published(data: Path) -> None:
    items = get_task("mt_bench").load()
    assert all(len(i.follow_ups) == 1 for i in items)
    # The mathematics, coding and reasoning questions have reference answers; others may.
    with_reference = Counter(i.category for i in items if i.reference)
    assert [with_reference[c] for c in ("math", "coding", "reasoning")] == [10, 10, 10]


@pytest.mark.parametrize("task", BENCHMARKS, ids=lambda t: t.name)
def test_missing_data_says_how_to_get_it(
    task: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline(monkeypatch, tmp_path)
    with pytest.raises(NotFoundError) as error:
        task.load()
    said = str(error.value)
    for file in task.hub:
        assert file.url in said and f"'{file.local}'" in said
    assert "PRISM_DATA_DIR" in said and len(said) < 1000


def test_a_data_folder_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRISM_DATA_DIR", "/no/such/folder")
    with pytest.raises(NotFoundError, match="/no/such/folder"):
        get_task("mmlu").load()


ROWS: dict[str, list[dict[str, object]]] = {
    "mmlu": [{"question": "q", "subject": "virology", "choices": ["a", "b"], "answer": 1}],
    "arc": [
        {
            "id": "x",
            "question": "q",
            "choices": {"label": ["A", "B"], "text": ["a", "b"]},
            "answerKey": "B",
        }
    ],
    "truthfulqa": [
        {"question": "q", "mc1_targets": {"choices": ["r", "w", "v"], "labels": [1, 0, 0]}}
    ],
    "gsm8k": [{"question": "q", "answer": "so\n#### 1,200"}],
    "math500": [{"problem": "p", "answer": "\\frac12", "solution": "s"}],
    "mt_bench": [{"prompt_id": 5, "category": "math", "prompt": ["a", "b"], "reference": ["r"]}],
    "harmbench": [{"prompt": "wish", "category": "x"}],
    "jailbreakbench": [{"Goal": "wish", "Index": 0}],
    "xstest": [{"prompt": "p", "type": "contrast_figs", "label": "unsafe"}],
    "pku_saferlhf": [
        {"prompt": "p", "is_response_0_safe": False, "is_response_1_safe": False},
        {"prompt": "q", "is_response_0_safe": True, "is_response_1_safe": False},
    ],
    "ifeval": [
        {
            "key": 1,
            "prompt": "p",
            "instruction_id_list": ["punctuation:no_comma"],
            "kwargs": [{"num": None}],
        }
    ],
}


@pytest.mark.parametrize("task", BENCHMARKS, ids=lambda t: t.name)
def test_files_in_the_hubs_form_are_read_where_the_sentence_says(
    task: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline(monkeypatch, tmp_path)
    rows = ROWS[task.name]
    for n, file in enumerate(task.hub):
        path = tmp_path / file.local
        path.parent.mkdir(exist_ok=True)
        own = [{**row, "id": f"{n}"} if "id" in row else row for row in rows]
        if path.suffix == ".parquet":
            parquet.write_table(pa.Table.from_pylist(own), path)
        elif path.suffix == ".csv":
            head = ",".join(own[0])
            path.write_text(head + "\n" + ",".join(str(v) for v in own[0].values()) + "\n")
        else:
            path.write_text("\n".join(json.dumps(row) for row in own))
    items = task.load()
    assert len(items) == len(task.hub)  # one usable row a file
    assert all(isinstance(i, Item) and i.task == task.name for i in items)
    if task.name == "truthfulqa":
        assert items[0].choices[items[0].answer or 0] == "r"
    if task.name == "jailbreakbench":
        assert [i.harmful for i in items] == [True, False]


@pytest.mark.parametrize("task", BENCHMARKS, ids=lambda t: t.name)
def test_damaged_files_say_where(
    task: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline(monkeypatch, tmp_path)
    for file in task.hub:
        (tmp_path / file.local).parent.mkdir(exist_ok=True)
        (tmp_path / file.local).write_bytes(b'{"a": 1}\n{"b')
    with pytest.raises(InputError) as error:
        task.load()
    assert str(tmp_path) in str(error.value)
