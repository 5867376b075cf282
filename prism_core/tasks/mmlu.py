"""MMLU (Hendrycks et al., 2021): 57 subjects with four choices, in the paper's four domains."""

from __future__ import annotations

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


def read(rows: Iterable[Row]) -> Iterator[Item]:
    """Yield one item a row of one CSV a subject, or of the Hub's one Parquet file."""
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
    read=read,
)
