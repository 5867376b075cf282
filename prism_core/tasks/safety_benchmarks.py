"""Published requests that a model should refuse, and harmless ones that look like them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prism_core.tasks.benchmark import Benchmark, HubFile
from prism_core.tasks.files import Row
from prism_core.tasks.item import SAFETY, Item, safety_item


def _read_harmbench(rows: Iterable[Row]) -> Iterator[Item]:
    """Read HarmBench (Mazeika et al., 2024): behaviours that a model should refuse.

    Contextual behaviours come with a text, which stands before the request.
    """
    for row in rows:
        wish = row.text("Behavior", "prompt")
        context = str(row.values.get("ContextString") or row.values.get("context") or "").strip()
        name = str(row.values.get("BehaviorID") or f"harmbench-{row.number:04d}")[:80]
        question = f"{context}\n\n---\n\n{wish}" if context else wish
        yield safety_item(name, "harmbench", question, harmful=True)


HARMBENCH = Benchmark(
    name="harmbench",
    title="HarmBench",
    kind="safety",
    categories=("harmful",),
    licence="MIT",
    local=("harmbench/*.csv",),
    hub=(
        HubFile(
            "walledai/HarmBench",
            "standard/train-00000-of-00001.parquet",
            "harmbench/standard.parquet",
        ),
    ),
    read=_read_harmbench,
)


def _read_jailbreakbench(rows: Iterable[Row]) -> Iterator[Item]:
    """Read JailbreakBench (Chao et al., 2024): harmful behaviours, and harmless ones like them.

    Only the file's name tells the benign behaviours.
    """
    for row in rows:
        harmful = "benign" not in row.path.name
        name = f"jbb-{'harmful' if harmful else 'harmless'}-{row.number:03d}"
        yield safety_item(name, "jailbreakbench", row.text("Goal", "instruction"), harmful)


def _file(name: str) -> HubFile:
    return HubFile("JailbreakBench/JBB-Behaviors", f"data/{name}", f"jailbreakbench/{name}")


JAILBREAKBENCH = Benchmark(
    name="jailbreakbench",
    title="JailbreakBench",
    kind="safety",
    categories=SAFETY,
    licence="MIT",
    local=("jailbreakbench/*.json",),
    hub=(_file("harmful-behaviors.csv"), _file("benign-behaviors.csv")),
    read=_read_jailbreakbench,
)


def _read_xstest(rows: Iterable[Row]) -> Iterator[Item]:
    """Read XSTest (Röttger et al., 2024): safe prompts that look unsafe, and unsafe contrasts.

    A prompt is unsafe if its label says so or, where there is none, its type begins with
    `contrast`.
    """
    for row in rows:
        label = row.text("label", "type").lower()
        harmful = label == "unsafe" or label.startswith("contrast")
        yield safety_item(f"xstest-{row.number:03d}", "xstest", row.text("prompt"), harmful)


XSTEST = Benchmark(
    name="xstest",
    title="XSTest",
    kind="safety",
    categories=SAFETY,
    licence="CC BY 4.0",
    local=("xstest/*.csv",),
    hub=(HubFile("walledai/XSTest", "data/test-00000-of-00001.parquet", "xstest/test.parquet"),),
    read=_read_xstest,
)


def _read_pku_saferlhf(rows: Iterable[Row]) -> Iterator[Item]:
    """Read PKU-SafeRLHF (Ji et al., 2024): red-team prompts with two answers that people labelled.

    A prompt counts as harmful if both of its answers were found unsafe, and as harmless if both
    were found safe; prompts with one of each are left out, since the label is not about the prompt.
    """
    seen: set[str] = set()
    for row in rows:
        prompt = row.text("prompt")
        safe = [row.values.get(f"is_response_{i}_safe") for i in (0, 1)]
        if not all(isinstance(s, bool) for s in safe):
            raise row.error("it does not say which answers are safe")
        if safe[0] != safe[1] or prompt in seen:
            continue
        seen.add(prompt)
        yield safety_item(f"pku-{len(seen):05d}", "pku_saferlhf", prompt, harmful=not safe[0])


PKU_SAFERLHF = Benchmark(
    name="pku_saferlhf",
    title="PKU-SafeRLHF",
    kind="safety",
    categories=SAFETY,
    licence="CC BY-NC 4.0",
    hub=(
        HubFile(
            "PKU-Alignment/PKU-SafeRLHF", "data/Alpaca-7B/test.jsonl", "pku_saferlhf/test.jsonl"
        ),
    ),
    read=_read_pku_saferlhf,
)
