"""Fitting the gate's small MLP to features that are already read (PRISM, section 4.2).

Binary cross-entropy; the minority class is drawn again, with replacement, until both are as many;
features are standardised by the rows that are trained on. Every call is a function of its seed.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import nn

from prism_core.prism.gating.gate import Gate
from prism_core.prism.gating.report import GateConfig
from prism_core.prism.gating.settings import Feature

_bce = nn.functional.binary_cross_entropy_with_logits


@dataclass(frozen=True)
class Fit:
    """A trained gate and what it looked like on the way."""

    gate: Gate
    train_losses: tuple[float, ...]
    """Mean cross-entropy of each epoch's steps, in nats."""
    other_logits: torch.Tensor
    """Log-odds of the other rows after each epoch, shape (epochs, m)."""


def fit_gate(
    features: torch.Tensor,
    labels: torch.Tensor,
    others: torch.Tensor,
    feature: Feature,
    config: GateConfig,
    *,
    keep: int | None = None,
    on_epoch: Callable[[int, float], None] = lambda _epoch, _loss: None,
) -> Fit:
    """Train a gate on rows of both classes.

    `features` (n, F) are the columns that `feature` names; `labels` (n,) are true where the persona
    helps; `others` (m, F) are only scored. The gate gets the weights of epoch `keep`, counted from
    1; None is the last. `on_epoch` is told of every epoch and its loss, and may raise to stop.
    """
    generator = torch.Generator().manual_seed(config.seed)
    gate = new_gate(features, feature, config.seed)
    adam = torch.optim.AdamW(
        gate.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
    )
    kept, losses, logits = gate, [], []
    for epoch in range(1, config.epochs + 1):
        order = balanced_order(labels, generator)
        total = 0.0
        for rows in order.split(config.batch):
            adam.zero_grad()
            loss = _bce(gate.logits(features[rows]), labels[rows].float())
            loss.backward()
            adam.step()
            total += float(loss.detach()) * len(rows)
        losses.append(total / len(order))
        with torch.no_grad():
            logits.append(gate.logits(others))
        if epoch == keep:
            kept = deepcopy(gate)
        on_epoch(epoch, losses[-1])
    return Fit(kept.eval().requires_grad_(False), tuple(losses), torch.stack(logits))


def new_gate(features: torch.Tensor, feature: Feature, seed: int) -> Gate:
    """Make an untrained gate that standardises by these features (n, F)."""
    width = features.shape[1] // (2 if feature == "both" else 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        gate = Gate(width, feature)
    spread = features.std(dim=0, correction=0)
    gate.mean.copy_(features.mean(dim=0))
    gate.spread.copy_(torch.where(spread > 1e-6, spread, torch.ones_like(spread)))
    return gate


def balanced_order(labels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return row numbers in random order, the rarer class drawn again until both are as many."""
    classes = [labels.nonzero().squeeze(1), (~labels).nonzero().squeeze(1)]
    most = max(len(rows) for rows in classes)
    drawn = [
        torch.cat([rows, rows[torch.randint(len(rows), (most - len(rows),), generator=generator)]])
        for rows in classes
    ]
    order = torch.cat(drawn)
    return order[torch.randperm(len(order), generator=generator)]


def losses_of(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy (epochs,) of log-odds (epochs, m) to labels (m,), in nats."""
    targets = labels.float().expand_as(logits)
    return _bce(logits, targets, reduction="none").mean(dim=1)
