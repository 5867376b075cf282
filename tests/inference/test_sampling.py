"""Drawing tokens: known distributions, and no row that depends on another."""

from __future__ import annotations

import pytest
import torch

from prism_core.inference.sampling import _largest, draw_tokens, row_keys
from prism_core.types import Sampling

P = torch.tensor([0.5, 0.3, 0.15, 0.05])


def shares(sampling: Sampling, draws: int = 20_000) -> torch.Tensor:
    """Observed shares of the four tokens over many seeds."""
    logits = P.log().repeat(draws, 1)
    drawn = draw_tokens(logits, row_keys(range(draws)), 3, sampling, None)
    return torch.bincount(drawn, minlength=4) / draws


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(temperature=1.0), [0.5, 0.3, 0.15, 0.05]),
        # The nucleus of 0.79 is {0.5, 0.3}: 0.5/0.8 and 0.3/0.8.
        (Sampling(temperature=1.0, top_p=0.79), [0.625, 0.375, 0, 0]),
        # Just above 0.8 it takes the third as well: each over 0.95.
        (Sampling(temperature=1.0, top_p=0.81), [0.5263, 0.3158, 0.1579, 0]),
        (Sampling(temperature=1.0, top_k=3), [0.5263, 0.3158, 0.1579, 0]),
        # Temperature 0.5 squares the odds: 0.25, 0.09, 0.0225, 0.0025 over 0.365.
        (Sampling(temperature=0.5), [0.6849, 0.2466, 0.0616, 0.0068]),
        (Sampling(temperature=0.0), [1, 0, 0, 0]),
    ],
)
def test_shares_match_the_distribution(sampling: Sampling, expected: list[float]) -> None:
    # Standard error of a share at 20,000 draws is at most 0.0035; four of them.
    assert shares(sampling).tolist() == pytest.approx(expected, abs=0.014)


def test_a_row_draws_the_same_whatever_its_mates() -> None:
    logits = torch.randn(16, 1000, generator=torch.Generator().manual_seed(1))
    keys = row_keys(range(16))
    sampling = Sampling(temperature=0.9, top_p=0.95)
    whole = draw_tokens(logits, keys, 2, sampling, None)
    for i in (0, 7, 15):
        assert draw_tokens(logits[i : i + 1], keys[i : i + 1], 2, sampling, None)[0] == whole[i]


def test_a_flat_distribution_finds_its_wide_nucleus() -> None:
    # 5,000 equal tokens: half the mass needs 2,500 of them, far beyond the first selections of 64
    # and 1,024. A thousand draws meet 2500 * (1 - exp(-1000 / 2500)) = 824 of these, and would meet
    # 638 of the 1,024.
    logits = torch.zeros(1000, 5000)
    sampling = Sampling(temperature=1.0, top_p=0.5)
    drawn = draw_tokens(logits, row_keys(range(1000)), 0, sampling, None)
    assert len(drawn.unique()) > 740


def test_steps_and_seeds_are_independent() -> None:
    logits, key, plain = P.log()[None], row_keys([11]), Sampling(temperature=1.0)
    drawn = torch.cat([draw_tokens(logits, key, t, plain, None) for t in range(4000)])
    counts = torch.bincount(drawn, minlength=4) / 4000
    assert counts.tolist() == pytest.approx(P.tolist(), abs=0.035)
    repeats = (drawn[1:] == drawn[:-1]).float().mean().item()
    # Independent draws repeat with probability 0.25 + 0.09 + 0.0225 + 0.0025 = 0.365.
    assert repeats == pytest.approx(0.365, abs=0.035)


def test_repetition_penalty_by_hand() -> None:
    # Token 0 leads with 2.0 but was seen: 2.0 / 1.5 = 1.33 < 1.5. Token 2 is negative: -1 * 1.5.
    logits = torch.tensor([[2.0, 1.5, -1.0]])
    sampling = Sampling(temperature=0.0, repetition_penalty=1.5)
    assert draw_tokens(logits, row_keys([0]), 0, sampling, torch.tensor([[0, 2]])).item() == 1


@pytest.mark.parametrize("count", [1, 40, 64])
def test_the_largest_are_found_block_by_block(count: int) -> None:
    # All values differ, so there is one right order; 49152 / 64 = 768 blocks.
    logits = torch.stack(
        [torch.randperm(49152, generator=torch.Generator().manual_seed(i)) for i in range(5)]
    ).float()
    values, ids = _largest(logits, count)
    right = logits.topk(count)
    assert torch.equal(values, right.values) and torch.equal(ids, right.indices)
