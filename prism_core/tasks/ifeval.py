"""IFEval (Zhou et al., 2023): prompts with instructions that a program can verify."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from prism_core.checks import Check
from prism_core.tasks.benchmark import Benchmark, HubFile
from prism_core.tasks.files import Row
from prism_core.tasks.item import Item


def read(rows: Iterable[Row]) -> Iterator[Item]:
    """Yield one item a row."""
    for row in rows:
        prompt = row.text("prompt")
        names, kwargs = row.values.get("instruction_id_list"), row.values.get("kwargs")
        if not isinstance(names, list) or not isinstance(kwargs, list):
            raise row.error("no list of instructions")
        if len(names) != len(kwargs) or not all(isinstance(k, Mapping) for k in kwargs):
            raise row.error("each instruction needs its kwargs")
        given = [{k: v for k, v in one.items() if v is not None} for one in kwargs]
        options = {"instructions": names, "kwargs": given, "prompt": prompt}
        check = Check("ifeval", options, "alignment")
        name = f"ifeval-{row.values.get('key', row.number)}"
        yield Item(name, "ifeval", "instructions", "open", prompt, check=check)


IFEVAL = Benchmark(
    name="ifeval",
    title="IFEval",
    kind="open",
    categories=("instructions",),
    licence="Apache-2.0",
    local=("ifeval/input_data.jsonl",),
    hub=(HubFile("google/IFEval", "ifeval_input_data.jsonl", "ifeval/ifeval_input_data.jsonl"),),
    read=read,
)
