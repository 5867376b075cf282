"""Published questions with several choices, of which one is right."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator

from prism_core.tasks.benchmark import Benchmark, HubFile
from prism_core.tasks.files import Row
from prism_core.tasks.item import MMLU_DOMAINS, Item

_SUBJECTS = {
    "stem": """abstract_algebra anatomy astronomy college_biology college_chemistry
        college_computer_science college_mathematics college_physics computer_security
        conceptual_physics electrical_engineering elementary_mathematics high_school_biology
        high_school_chemistry high_school_computer_science high_school_mathematics
        high_school_physics high_school_statistics machine_learning""",
    "humanities": """formal_logic high_school_european_history high_school_us_history
        high_school_world_history international_law jurisprudence logical_fallacies moral_disputes
        moral_scenarios philosophy prehistory professional_law world_religions""",
    "social_sciences": """econometrics high_school_geography high_school_government_and_politics
        high_school_macroeconomics high_school_microeconomics high_school_psychology
        human_sexuality professional_psychology public_relations security_studies sociology
        us_foreign_policy""",
    "other": """business_ethics clinical_knowledge college_medicine global_facts human_aging
        management marketing medical_genetics miscellaneous nutrition professional_accounting
        professional_medicine virology""",
}
DOMAIN = {subject: domain for domain, names in _SUBJECTS.items() for subject in names.split()}
"""The domain of each subject, as the benchmark's authors group them."""


def _read_mmlu(rows: Iterable[Row]) -> Iterator[Item]:
    """Read MMLU (Hendrycks et al., 2021): 57 subjects in the paper's four domains.

    It comes as one CSV a subject, or as the Hub's one Parquet file.
    """
    counts = Counter[str]()
    for row in rows:
        subject = str(row.values.get("subject") or row.path.stem.rpartition("_")[0])
        if subject not in DOMAIN:
            raise row.error(f"MMLU has no subject '{subject[:60]}'")
        counts[subject] += 1
        name, question = f"{subject}-{counts[subject]:04d}", row.text("question")
        listed = row.values.get("choices")
        if not isinstance(listed, list):
            listed = [row.values.get(f"choice{i}") for i in range(4)]
        choices = tuple(str(choice) for choice in listed if choice is not None)
        try:
            answer = int(row.values["answer"])
            yield Item(name, "mmlu", DOMAIN[subject], "choice", question, choices, answer)
        except (KeyError, TypeError, ValueError) as error:
            raise row.error(f"this is not a question with choices ({error})") from error


MMLU = Benchmark(
    name="mmlu",
    title="MMLU",
    kind="choice",
    categories=MMLU_DOMAINS,
    licence="MIT",
    local=("mmlu/test/*_test.csv",),
    hub=(HubFile("cais/mmlu", "all/test-00000-of-00001.parquet", "mmlu/test.parquet"),),
    read=_read_mmlu,
)


def _read_arc(rows: Iterable[Row]) -> Iterator[Item]:
    """Read ARC (Clark et al., 2018): school science, the easy and the challenge set.

    The right choice is named by its label, not by its place.
    """
    for row in rows:
        try:
            labels = list(row.values["choices"]["label"])
            texts = tuple(str(text) for text in row.values["choices"]["text"])
            answer = labels.index(row.values["answerKey"])
        except (TypeError, KeyError, ValueError) as error:
            raise row.error(f"no choices ({error})") from error
        name = str(row.values.get("id") or f"{row.path.stem}-{row.number}")[:80]
        yield Item(name, "arc", "stem", "choice", row.text("question"), texts, answer)


def _test_file(name: str, local: str) -> HubFile:
    return HubFile("allenai/ai2_arc", f"{name}/test-00000-of-00001.parquet", local)


ARC = Benchmark(
    name="arc",
    title="ARC",
    kind="choice",
    categories=("stem",),
    licence="CC BY-SA 4.0",
    hub=(
        _test_file("ARC-Easy", "arc/easy.parquet"),
        _test_file("ARC-Challenge", "arc/challenge.parquet"),
    ),
    read=_read_arc,
)


def _read_truthfulqa(rows: Iterable[Row]) -> Iterator[Item]:
    """Read TruthfulQA (Lin et al., 2022), the form with one right answer (MC1).

    The published file lists the right answer first; here the choices are shuffled, each question
    by its own text, so that the place says nothing.
    """
    for row in rows:
        question = row.text("question")
        try:
            texts = [str(text) for text in row.values["mc1_targets"]["choices"]]
            right = texts[[int(x) for x in row.values["mc1_targets"]["labels"]].index(1)]
        except (TypeError, KeyError, ValueError) as error:
            raise row.error(f"no MC1 targets ({error})") from error
        ranks = {text: hashlib.sha256(f"{question}\0{text}".encode()).digest() for text in texts}
        choices = tuple(sorted(ranks, key=lambda text: ranks[text]))
        name, answer = f"mc1-{row.number:04d}", choices.index(right)
        yield Item(name, "truthfulqa", "truthfulness", "choice", question, choices, answer)


TRUTHFULQA = Benchmark(
    name="truthfulqa",
    title="TruthfulQA (MC1)",
    kind="choice",
    categories=("truthfulness",),
    licence="Apache-2.0",
    hub=(
        HubFile(
            "truthfulqa/truthful_qa",
            "multiple_choice/validation-00000-of-00001.parquet",
            "truthfulqa/multiple_choice.parquet",
        ),
    ),
    read=_read_truthfulqa,
)
