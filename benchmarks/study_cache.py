"""A study the second time, and its cost against n.

1. One study on the embedded model, then the same again in the same store: what the cache leaves to
   be done, as a share of the first time (aim: under 2 %).
2. The same study with 2, 4 and 8 items a category, each in a store of its own: seconds an answer,
   which stay the same where the cost is linear (aim).
Wall time and CPU time are both printed: the machine may be busy with something else.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from prism_core.models.local import LocalModel
from prism_core.progress import Progress
from prism_core.storage import Store, pack
from prism_core.study.run import StudyRun
from prism_core.study.spec import StudySpec, TaskLimit

SPEC = StudySpec(
    name="Benchmark",
    tasks=("knowledge", "safety"),
    limits=(TaskLimit("safety", max_new_tokens=16),),
    personas=("math", "irrelevant"),
    lengths=("min", "long"),
    scoring="cloze",
)


def main() -> None:
    """Measure and print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="2,4,8", help="items a category, rising")
    args = parser.parse_args()
    sizes = [int(n) for n in args.sizes.split(",")]
    model = LocalModel.load("embedded")
    with tempfile.TemporaryDirectory() as folder:
        run(model, Path(folder), "warm", replace(SPEC, n_per_category=1))
        per_answer = {}
        for n in sizes:
            answers, wall, cpu = run(model, Path(folder), f"n{n}", replace(SPEC, n_per_category=n))
            per_answer[n] = cpu / answers
            print(
                f"n = {n}: {answers} answers, {wall:.2f} s, {cpu:.2f} s of CPU, "
                f"{1000 * cpu / answers:.1f} ms of CPU an answer"
            )
        first = (wall, cpu)
        spec = replace(SPEC, n_per_category=sizes[-1])
        _, wall, cpu = run(model, Path(folder), f"n{sizes[-1]}", spec)
        print(
            f"again: {wall:.3f} s, {cpu:.3f} s of CPU: {wall / first[0]:.2%} of the first time, "
            f"{cpu / first[1]:.2%} of its CPU time"
        )
        ratio = per_answer[sizes[-1]] / per_answer[sizes[0]]
        print(f"CPU an answer at n = {sizes[-1]} against n = {sizes[0]}: {ratio:.2f}")


def run(model: LocalModel, folder: Path, name: str, spec: StudySpec) -> tuple[int, float, float]:
    """Run a study; return how many answers it has, and its wall and CPU seconds."""
    with Store(f"sqlite:///{folder}/{name}.sqlite3", home=folder) as store:
        row = store.create_run("study", spec.name, pack(spec))
        work = StudyRun(row, store, Progress(), {"embedded": model})
        wall, cpu = time.perf_counter(), time.process_time()
        work.run()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return len(work.records.answer_keys()), wall, cpu


if __name__ == "__main__":
    main()
