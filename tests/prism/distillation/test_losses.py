"""The distillation losses against arithmetic done by hand and against the full KL."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import kl_div

from prism_core.prism.distillation.losses import (
    chunked_sum,
    rest_logprob,
    sft_loss,
    top_logprobs,
    topk_kl,
)


def full_kl(teacher: torch.Tensor, student: torch.Tensor, heat: float) -> torch.Tensor:
    """T^2 KL over the whole vocabulary by PyTorch, one value a row."""
    p, q = (teacher / heat).log_softmax(-1), (student / heat).log_softmax(-1)
    return kl_div(q, p, log_target=True, reduction="none").sum(-1) * heat**2


def cached(logits: torch.Tensor, k: int, heat: float) -> tuple[torch.Tensor, torch.Tensor]:
    values, ids = logits.topk(k, dim=-1)
    return ids, top_logprobs(values, (logits / heat).logsumexp(-1), heat)


def test_by_hand_with_a_rest() -> None:
    # Teacher 1/2, 1/4, 1/4; student 1/4, 1/4, 1/2. The top token alone is kept (k = 1):
    # KL = 1/2 log(1/2 / 1/4) + 1/2 log(1/2 / 3/4) = 1/2 log 2 + 1/2 log(2/3)
    teacher = torch.tensor([[0.5, 0.25, 0.25]]).log()
    student = torch.tensor([[0.25, 0.25, 0.5]]).log()
    ids, logprobs = cached(teacher, 1, 1.0)
    expected = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    assert topk_kl(student, ids, logprobs).item() == pytest.approx(expected, abs=1e-6)


def test_by_hand_at_temperature_two() -> None:
    # Logits log 4 and 0 at T = 2 are log 2 and 0: teacher 2/3, 1/3. The student is 1/2, 1/2.
    # T^2 KL = 4 (2/3 log(4/3) + 1/3 log(2/3))
    teacher, student = torch.tensor([[math.log(4), 0.0]]), torch.zeros(1, 2)
    ids, logprobs = cached(teacher, 1, 2.0)
    expected = 4 * (2 / 3 * math.log(4 / 3) + 1 / 3 * math.log(2 / 3))
    assert topk_kl(student, ids, logprobs, 2.0).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("heat", [1.0, 2.0])
def test_all_tokens_kept_is_the_full_kl(heat: float) -> None:
    torch.manual_seed(0)
    teacher, student = torch.randn(5, 40) * 3, torch.randn(5, 40) * 3
    ids, logprobs = cached(teacher, 40, heat)
    ours = topk_kl(student, ids, logprobs, heat)
    assert torch.allclose(ours, full_kl(teacher, student, heat), atol=1e-4)


def test_joining_tokens_bounds_the_full_kl_from_below() -> None:
    torch.manual_seed(1)
    teacher, student = torch.randn(50, 400) * 2, torch.randn(50, 400) * 2
    full = full_kl(teacher, student, 1.0)
    last = torch.zeros(50)
    for k in (1, 8, 64, 399):
        kl = topk_kl(student, *cached(teacher, k, 1.0))
        assert bool((kl >= last - 1e-4).all()), "more tokens never see less"
        assert bool((kl <= full + 1e-4).all())
        last = kl


def test_equal_distributions_have_no_kl_and_no_gradient() -> None:
    torch.manual_seed(2)
    teacher = torch.randn(4, 100) * 3
    student = (teacher + 5.0).requires_grad_()  # a shift of all logits changes no probability
    kl = topk_kl(student, *cached(teacher, 8, 2.0), 2.0)
    kl.sum().backward()
    assert kl.abs().max().item() < 1e-5
    assert student.grad is not None and student.grad.abs().max().item() < 1e-5


def test_a_certain_teacher_gives_a_finite_loss_and_gradient() -> None:
    teacher = torch.zeros(1, 50)
    teacher[0, 3] = 200.0
    student = torch.zeros(1, 50, requires_grad=True)
    kl = topk_kl(student, *cached(teacher, 4, 1.0))
    kl.sum().backward()
    assert kl.item() == pytest.approx(math.log(50), abs=1e-3)  # log(1 / (1/50))
    assert student.grad is not None and bool(student.grad.isfinite().all())


def test_the_rest_is_what_is_missing_to_one() -> None:
    logprobs = torch.tensor([[0.5, 0.25], [0.9, 0.1]]).log()
    rest = rest_logprob(logprobs).exp()
    assert rest[0].item() == pytest.approx(0.25, abs=1e-6)
    assert rest[1].item() < 1e-6


def test_sft_by_hand_skips_what_has_no_target() -> None:
    # Logits log 3 and 0 are 3/4 and 1/4, so the second token costs log 4.
    logits = torch.tensor([[math.log(3), 0.0], [math.log(3), 0.0]])
    losses = sft_loss(logits, torch.tensor([1, -100]))
    assert losses.tolist() == pytest.approx([math.log(4), 0.0], abs=1e-6)


@pytest.mark.parametrize("chunk", [3, 7, 100])
def test_chunks_give_the_loss_and_gradient_of_the_whole(chunk: int) -> None:
    torch.manual_seed(3)
    head, teacher = torch.randn(30, 6), torch.randn(7, 30) * 2
    ids, logprobs = cached(teacher, 5, 2.0)
    hidden = torch.randn(7, 6, requires_grad=True)

    def loss_of(states: torch.Tensor, span: slice) -> torch.Tensor:
        return topk_kl(states @ head.T, ids[span], logprobs[span], 2.0)

    plain = loss_of(hidden, slice(0, 7)).sum() * 0.5
    (expected,) = torch.autograd.grad(plain, hidden)
    summed = chunked_sum(hidden, loss_of, chunk) * 0.5
    (found,) = torch.autograd.grad(summed, hidden)
    assert summed.item() == pytest.approx(plain.item(), rel=1e-5)
    assert torch.allclose(found, expected, atol=1e-5)
