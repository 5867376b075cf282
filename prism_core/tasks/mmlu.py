"""MMLU (Hendrycks et al., 2021): 57 subjects with four choices, in the paper's four domains."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prism_core.errors import InputError
from prism_core.tasks.benchmark import Benchmark, HubFile
from prism_core.tasks.embedded import MMLU_DOMAINS
from prism_core.tasks.files import Row, read_rows, text_of
from prism_core.tasks.item import Item

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


def read(paths: Sequence[Path]) -> list[Item]:
    """Items from one CSV a subject, or from the Hub's one Parquet file."""
    items: list[Item] = []
    for path in paths:
        counts: dict[str, int] = {}
        for number, row in enumerate(read_rows(path), start=1):
            subject = str(row.get("subject") or path.stem.rpartition("_")[0])
            if subject not in DOMAIN:
                raise InputError(f"'{path}', row {number}: MMLU has no subject '{subject[:60]}'.")
            counts[subject] = counts.get(subject, 0) + 1
            items.append(_item(row, subject, counts[subject], path, number))
    return items


def _item(row: Row, subject: str, count: int, path: Path, number: int) -> Item:
    listed = row.get("choices")
    choices = listed if isinstance(listed, list) else [row.get(f"choice{i}") for i in range(4)]
    question = text_of(row, ["question"], path, number)
    try:
        answer = int(row["answer"])
        return Item(
            f"{subject}-{count:04d}",
            "mmlu",
            DOMAIN[subject],
            "choice",
            question,
            tuple(str(c) for c in choices if c is not None),
            answer,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"'{path}', row {number} is no question with choices: {error}.") from error


MMLU = Benchmark(
    "mmlu",
    "MMLU",
    "choice",
    MMLU_DOMAINS,
    ("mmlu/test/*_test.csv",),
    (HubFile("cais/mmlu", "all/test-00000-of-00001.parquet", "mmlu/test.parquet"),),
    read,
    "MIT",
)
