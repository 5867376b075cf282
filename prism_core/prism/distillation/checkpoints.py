"""A training run's state in one file, so that a run that was stopped goes on as if it never was.

Trained weights and the optimiser's moments are tensors in a safetensors file; the position and the
curve so far are JSON in its header. One file renamed into place is whole or not there. Nothing
else is needed: the loop draws no random numbers, since the order of the batches and the learning
rate are functions of the seed and the step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from prism_core.storage.values import dumps, loads
from prism_core.utils.durable import replacing

CHECKPOINT_FILE = "checkpoint.safetensors"
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Position:
    """Where a run stands: optimiser steps done, and what else it keeps, as plain JSON data."""

    step: int
    notes: Any


def save_checkpoint(
    folder: Path,
    params: Mapping[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    position: Position,
    digest: str,
) -> None:
    """Replace the folder's checkpoint: weights by name, their Adam's moments, and the position.

    The digest identifies settings and data; a checkpoint of another one does not fit.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, torch.Tensor] = {}
    for name, param in params.items():
        tensors[f"param/{name}"] = param.detach()
        state = optimizer.state.get(param, {})
        tensors |= {f"{m}/{name}": state[m] for m in _MOMENTS if m in state}
    header = {"digest": digest, "step": str(position.step), "notes": dumps(position.notes)}
    with replacing(folder / CHECKPOINT_FILE) as partial:
        save_file({k: v.contiguous().cpu() for k, v in tensors.items()}, partial, header)


def load_checkpoint(
    folder: Path,
    params: Mapping[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    digest: str,
) -> Position | None:
    """Put weights and moments back; None where there is no checkpoint of this very run."""
    try:
        with safe_open(folder / CHECKPOINT_FILE, "pt") as file:
            header = file.metadata() or {}
            if header.get("digest") != digest:
                return None
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return None  # never written, or cut off by a full disk: the run starts over
    step, notes = header.get("step", ""), loads(header.get("notes", "null"))
    if not step.isdecimal() or not _fits(tensors, params):
        return None  # damaged: the run starts over
    with torch.no_grad():
        for name, param in params.items():
            param.copy_(tensors[f"param/{name}"])
            # The count of steps stays on the CPU, as Adam keeps it.
            state = {
                m: tensors[f"{m}/{name}"].to("cpu" if m == "step" else param.device)
                for m in _MOMENTS
                if f"{m}/{name}" in tensors
            }
            if state:
                optimizer.state[param] = state
    return Position(int(step), notes)


def _fits(tensors: Mapping[str, torch.Tensor], params: Mapping[str, torch.nn.Parameter]) -> bool:
    """Whether every weight is there in its shape, and every moment as finite as Adam left it."""
    for name, param in params.items():
        for part in ("param", *_MOMENTS):
            tensor = tensors.get(f"{part}/{name}")
            if tensor is None and part != "param":
                continue
            if tensor is None or (part != "step" and tensor.shape != param.shape):
                return False
            if not tensor.is_floating_point() or not bool(tensor.isfinite().all()):
                return False
    return True
