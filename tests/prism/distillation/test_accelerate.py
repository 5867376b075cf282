"""`accelerate launch` with two CPU processes learns what one process learns."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.paths import ROOT, TESTS

from prism_core.lora.files import WEIGHTS_FILE

SCRIPT = TESTS / "support" / "distill_script.py"
# On CPUs alone `--cpu` would ask for MPI; this launcher starts the processes itself.
LAUNCH = (
    *("-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1"),
    *("--num_processes", "2", "--num_cpu_threads_per_process", "1"),
    *("--main_process_ip", "127.0.0.1", "--main_process_port", "0"),
    *("--mixed_precision", "no", "--dynamo_backend", "no"),
)


def train(folder: Path, *before: str) -> dict[str, list[float]]:
    """Distil a tiny model in processes of their own; returns the losses and KLs by process."""
    command = [sys.executable, *before, str(SCRIPT), str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    found = {p.stem: json.loads(p.read_text()) for p in folder.glob("process-*.json")}
    return dict(sorted(found.items()))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    one = train(tmp_path / "one")
    two = train(tmp_path / "two", *LAUNCH)
    assert list(one) == ["process-0"] and list(two) == ["process-0", "process-1"]
    assert two["process-0"] == two["process-1"], "both processes agree"
    # A batch of 3 is shared as 2 + 1, the last one of an epoch (7 answers) as 1 + 0; the sums are
    # the same but for rounding.
    assert two["process-0"] == pytest.approx(one["process-0"], rel=1e-3)
    alone, together = (load_file(tmp_path / n / "adapter" / WEIGHTS_FILE) for n in ("one", "two"))
    assert all(torch.allclose(alone[k], together[k], atol=1e-3) for k in alone)
    assert not (tmp_path / "two" / "adapter" / "work").exists()
