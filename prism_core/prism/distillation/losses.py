"""The losses of stage 5: a temperature KL to a teacher's top tokens, or plain SFT.

The teacher's distribution at temperature T is cached as its k most probable tokens. What is left
of its mass is one further outcome, "any other token", for teacher and student alike:

    KL = sum_i p_i log(p_i / q_i) + p_rest log(p_rest / q_rest),    loss = T^2 KL    (nats)

with p_i, q_i from softmax(logits / T) over the *whole* vocabulary. Joining outcomes can only lower
a KL, so this is a lower bound of the full one, is never negative, and is 0 where both agree on the
k tokens. T^2 keeps the gradient's size independent of T (Hinton et al. 2015). PRISM, section 4.3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn

CHUNK = 256
"""Positions whose logits over the vocabulary exist at one time."""
_SMALLEST = 1e-7
"""Smallest mass of "any other token"; below it fp32 cannot tell it from 0."""

ChunkLoss = Callable[[torch.Tensor, slice], torch.Tensor]
"""Losses (n,) of hidden states (n, h) that lie at the given slice of all positions."""


def top_logprobs(logits: torch.Tensor, log_total: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return log-probabilities (N, K) at a temperature.

    Args:
        logits: raw logits of K tokens, shape (N, K).
        log_total: logsumexp(z / temperature) over the whole vocabulary, shape (N,).
        temperature: divides the logits.
    """
    return logits / temperature - log_total[:, None]


def rest_logprob(logprobs: torch.Tensor) -> torch.Tensor:
    """Return the log of the mass (N,) that log-probabilities (N, K) leave to other tokens."""
    inside = logprobs.logsumexp(dim=-1)
    return (-torch.expm1(inside)).clamp(min=_SMALLEST).log()


def topk_kl(
    student_logits: torch.Tensor,
    ids: torch.Tensor,
    teacher_logprobs: torch.Tensor,
    temperature: float = 1.0,
) -> torch.Tensor:
    """Return T^2 KL(teacher || student) at every position, in nats.

    Args:
        student_logits: the student's raw logits, shape (N, V).
        ids: the teacher's most probable tokens, shape (N, K).
        teacher_logprobs: their log-probabilities at the temperature, shape (N, K).
        temperature: T, the same as the teacher's.

    Returns:
        Shape (N,), see the module header for the formula.
    """
    scaled = student_logits.float() / temperature
    student = scaled.gather(1, ids) - scaled.logsumexp(dim=-1, keepdim=True)
    inside = (teacher_logprobs.exp() * (teacher_logprobs - student)).sum(dim=-1)
    rest = rest_logprob(teacher_logprobs)
    return (inside + rest.exp() * (rest - rest_logprob(student))) * temperature**2


def sft_loss(student_logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy (N,) in nats of the tokens (N,) that the teacher wrote."""
    return nn.functional.cross_entropy(student_logits.float(), targets, reduction="none")


def chunked_sum(hidden: torch.Tensor, loss_of: ChunkLoss, chunk: int = CHUNK) -> torch.Tensor:
    """Sum `loss_of` over all positions, with the logits of few positions in memory.

    The head after the hidden states is frozen, so all that its backward pass has to give is the
    gradient of the hidden states. It is computed chunk by chunk while the loss is, and the logits
    (V floats a position) are dropped at once instead of being kept for the backward pass.

    Args:
        hidden: states in front of the model's head, shape (N, h).
        loss_of: see `ChunkLoss`; must only depend on trained weights through its argument.
        chunk: positions at one time.
    """
    return cast(torch.Tensor, _ChunkedSum.apply(hidden, loss_of, chunk))


class _ChunkedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, loss_of: ChunkLoss, chunk: int) -> torch.Tensor:
        total = hidden.new_zeros((), dtype=torch.float32)
        gradients = []
        for start in range(0, len(hidden), chunk):
            part = hidden[start : start + chunk].detach().requires_grad_()
            with torch.enable_grad():
                loss = loss_of(part, slice(start, start + len(part))).sum()
            gradients.append(torch.autograd.grad(loss, part)[0])
            total += loss.detach()
        ctx.save_for_backward(torch.cat(gradients))
        return total

    @staticmethod
    def backward(ctx: Any, *outputs: torch.Tensor) -> Any:
        (gradient,) = ctx.saved_tensors
        return gradient * outputs[0].to(gradient.dtype), None, None
