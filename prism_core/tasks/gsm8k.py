"""GSM8K (Cobbe et al., 2021): word problems whose answer is one number, given after `####`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prism_core.checks import Check
from prism_core.checks.numeric import parse_number
from prism_core.tasks.benchmark import Benchmark, HubFile
from prism_core.tasks.files import Row
from prism_core.tasks.item import Item


def read(rows: Iterable[Row]) -> Iterator[Item]:
    """Yield one item a row."""
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
    read=read,
)
