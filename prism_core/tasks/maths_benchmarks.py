"""Published problems of mathematics, whose final answer a program checks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prism_core.checks import Check
from prism_core.checks.numeric import parse_number
from prism_core.tasks.benchmark import Benchmark, HubFile
from prism_core.tasks.files import Row
from prism_core.tasks.item import Item


def _read_gsm8k(rows: Iterable[Row]) -> Iterator[Item]:
    """Read GSM8K (Cobbe et al., 2021): word problems whose answer is a number after `####`."""
    for row in rows:
        reference = row.text("answer")
        _, mark, answer = reference.rpartition("####")
        if not mark or parse_number(answer.strip()) is None:
            raise row.error("the answer has no '#### number'")
        check = Check("number", {"answer": answer.strip().replace(",", "")})
        name, question = f"gsm8k-{row.number:04d}", row.text("question")
        yield Item(name, "gsm8k", "math", "open", question, check=check, reference=reference)


GSM8K = Benchmark(
    name="gsm8k",
    title="GSM8K",
    kind="open",
    categories=("math",),
    licence="MIT",
    local=("gsm8k/test*.jsonl",),
    hub=(HubFile("openai/gsm8k", "main/test-00000-of-00001.parquet", "gsm8k/test.parquet"),),
    read=_read_gsm8k,
)


def _read_math500(rows: Iterable[Row]) -> Iterator[Item]:
    """Read MATH-500 (Lightman et al., 2023, from Hendrycks et al.): the answer is a formula."""
    for row in rows:
        yield Item(
            f"math500-{row.number:03d}",
            "math500",
            "math",
            "open",
            f"{row.text('problem')}\n\nPut the final answer into \\boxed{{}}.",
            check=Check("maths", {"answer": row.text("answer")}),
            reference=str(row.values.get("solution") or ""),
        )


MATH500 = Benchmark(
    name="math500",
    title="MATH-500",
    kind="open",
    categories=("math",),
    licence="MIT",
    hub=(HubFile("HuggingFaceH4/MATH-500", "test.jsonl", "math500/test.jsonl"),),
    read=_read_math500,
)
