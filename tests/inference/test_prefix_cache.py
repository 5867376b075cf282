"""What was read stays known: the radix tree by hand, and how much a second request reads."""

from __future__ import annotations

import gc
from collections.abc import Sequence

import pytest
import torch
from support.engine_parts import (
    Reads,
    answers,
    by_library,
    count_fused,
    count_library,
    is_fused,
    random_lora,
)
from support.tiny_models import tiny_model
from transformers import PreTrainedTokenizerBase

from prism_core.inference.prefix_cache import PrefixCache
from prism_core.lora.weights import LoraWeights
from prism_core.models.chat import encode_prompt
from prism_core.models.local import LocalModel
from prism_core.types import Message, Sampling

TOKEN_BYTES = 2 * 4
"""One layer, keys and values, one head of size 1, in fp32."""


class Book:
    """A cache whose states are the tokens themselves, so that a wrong one shows."""

    def __init__(self, most_tokens: int = 1000) -> None:
        self.cache = PrefixCache(most_tokens * TOKEN_BYTES)
        self.asked: list[tuple[int, int]] = []

    def add(self, ids: Sequence[int], adapter: LoraWeights | None = None) -> None:
        def states(start: int, stop: int) -> torch.Tensor:
            self.asked.append((start, stop))
            part = torch.tensor(ids[start:stop], dtype=torch.float32)
            return torch.stack([part, -part])[None, :, :, None, None]

        self.cache.add(adapter, list(ids), states)

    def find(self, ids: Sequence[int], adapter: LoraWeights | None = None) -> list[int]:
        """The tokens whose states are found."""
        states = self.cache.find(adapter, list(ids))
        if states is None:
            return []
        assert states.shape[:2] == (1, 2) and states.shape[3:] == (1, 1)
        keys, values = states[0, :, :, 0, 0]
        assert torch.equal(values, -keys)
        return [int(k) for k in keys]

    @property
    def stretches(self) -> list[tuple[int, ...]]:
        return sorted(node.tokens for node in self.cache._nodes())

    @property
    def tokens(self) -> int:
        assert self.cache.bytes % TOKEN_BYTES == 0
        return self.cache.bytes // TOKEN_BYTES


def test_the_longest_known_beginning_is_found() -> None:
    book = Book()
    assert book.find([1, 2, 3]) == []
    book.add([1, 2, 3, 4])
    assert book.find([1, 2, 3, 4]) == [1, 2, 3, 4]
    assert book.find([1, 2, 3, 4, 5]) == [1, 2, 3, 4]
    assert book.find([1, 2, 9]) == [1, 2], "the middle of a stretch will do"
    assert book.find([2, 3, 4]) == [], "only a beginning is"
    assert book.find([]) == []
    assert [book.cache.known(None, ids) for ids in ([1, 2, 9], [7], [1, 2, 3, 4, 5])] == [2, 0, 4]


def test_a_stretch_is_split_where_two_rows_part() -> None:
    book = Book()
    book.add([1, 2, 3, 4])
    book.add([1, 2, 5, 6, 7])
    # Only what was new was asked for: three tokens behind the two in common.
    assert book.asked == [(0, 4), (2, 5)]
    assert book.stretches == [(1, 2), (3, 4), (5, 6, 7)]
    assert book.tokens == 2 + 2 + 3
    assert book.find([1, 2, 3, 4]) == [1, 2, 3, 4]
    assert book.find([1, 2, 5, 6, 7, 8]) == [1, 2, 5, 6, 7]
    book.add([1, 2, 5, 9])
    assert book.stretches == [(1, 2), (3, 4), (5,), (6, 7), (9,)]
    assert book.find([1, 2, 5, 9, 9]) == [1, 2, 5, 9]


def test_what_is_known_is_not_asked_for_again() -> None:
    book = Book()
    book.add([1, 2, 3, 4])
    book.add([1, 2, 3, 4])
    book.add([1, 2])
    book.add([1, 2, 3, 4, 5])
    assert book.asked == [(0, 4), (4, 5)]
    assert book.stretches == [(1, 2, 3, 4), (5,)]


def test_what_was_used_longest_ago_goes_first() -> None:
    book = Book(most_tokens=6)
    for ids in ([1, 1], [2, 2], [3, 3]):
        book.add(ids)
    assert book.find([1, 1]) == [1, 1]
    book.add([4, 4])  # 8 tokens: one row has to go, and the second is the oldest
    assert book.stretches == [(1, 1), (3, 3), (4, 4)]
    book.cache.known(None, [3, 3])
    book.add([5, 5])
    assert book.stretches == [(3, 3), (4, 4), (5, 5)]


def test_leaves_go_before_what_they_stand_on() -> None:
    book = Book(most_tokens=8)
    book.add([1, 2, 3, 4])
    book.add([1, 2, 5, 6])  # (1, 2) with two ends, 6 tokens
    book.add([9, 9, 9])  # 9 tokens: the older end goes, not what both stand on
    assert book.stretches == [(1, 2), (5, 6), (9, 9, 9)]
    assert book.find([1, 2, 3, 4]) == [1, 2]


def test_a_parent_whose_children_went_is_older_than_what_is_new() -> None:
    book = Book(most_tokens=7)
    book.add([1, 1, 1, 1])
    book.add([1, 1, 1, 1, 2, 2])
    book.add([3, 3, 3, 3, 3, 3])  # 12 tokens: both older stretches have to go
    assert book.stretches == [(3, 3, 3, 3, 3, 3)]


@pytest.mark.parametrize("most", [0, 1, 7, 20, 50])
def test_the_bytes_are_bounded_whatever_comes(most: int) -> None:
    book = Book(most)
    random = torch.Generator().manual_seed(most)
    for _ in range(200):
        length = int(torch.randint(1, 12, (1,), generator=random))
        ids = torch.randint(0, 3, (length,), generator=random).tolist()
        found = book.find(ids)
        assert found == ids[: len(found)]
        book.add(ids)
        assert book.tokens <= most
        assert sum(len(s) for s in book.stretches) == book.tokens
        if length <= most:
            assert book.find(ids) == ids, "what is newest is known"


def test_adapters_are_kept_apart_and_go_with_their_adapter() -> None:
    book = Book()
    one, two = LoraWeights({}), LoraWeights({})
    book.add([1, 2, 3])
    book.add([1, 2, 4], one)
    assert book.find([1, 2, 3]) == [1, 2, 3]
    assert book.find([1, 2, 3], one) == [1, 2]
    assert book.find([1, 2, 3], two) == []
    assert book.tokens == 6
    del one
    gc.collect()
    assert book.tokens == 3, "nobody can ask for it any more"
    book.cache.clear()
    assert book.tokens == 0 and book.find([1, 2, 3]) == []


def test_what_was_found_is_counted() -> None:
    book = Book()
    book.add([1, 2, 3, 4])
    book.find([1, 2, 9])
    book.find([7, 8])
    assert (book.cache.asked, book.cache.hits) == (3 + 2, 2)


# How much a model reads.

PERSONA = [9, *range(20, 120)]
CLICK = [[*PERSONA, *range(300, 320)], [*range(200, 260)], [*PERSONA, *range(400, 405)]]
"""Three arms: a persona twice, and neither."""
ONE = Sampling(max_new_tokens=1)
"""What is read is counted by the library's passes too, so nothing is decoded behind it."""


@pytest.fixture(params=["fused", "library"])
def reader(
    request: pytest.FixtureRequest,
    tokenizer: PreTrainedTokenizerBase,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[LocalModel, Reads]:
    """A tiny model by either path, and what it reads."""
    model = tiny_model("llama", tokenizer, seed=3)
    if request.param == "fused":
        assert is_fused(model)
        return model, count_fused(monkeypatch)
    model = by_library(model)
    assert not is_fused(model)
    return model, count_library(monkeypatch, model)


def cold(model: LocalModel, *asked: object, **more: object) -> list[list[int]]:
    """What a model that has read nothing yet answers."""
    return answers(LocalModel(model.weights), *asked, **more)  # type: ignore[arg-type]


def test_a_second_identical_click_reads_hardly_anything(reader: tuple[LocalModel, Reads]) -> None:
    model, reads = reader
    first = answers(model, CLICK, ONE)
    assert reads.take() >= len(PERSONA) + 20 + 60 + 5, "the persona once, and each row's own end"
    again = answers(model, CLICK, ONE)
    # The library reads the ends of rows that share a persona in one padded pass all the same.
    assert reads.take() <= (3 if is_fused(model) else 20 + 20 + 1)
    assert again == first == cold(model, CLICK, ONE)


def test_a_persona_is_read_once_for_all_later_questions(reader: tuple[LocalModel, Reads]) -> None:
    model, reads = reader
    answers(model, CLICK[:1], ONE)
    reads.take()
    for question in ([500, 501, 502], [600, 601]):
        said = answers(model, [[*PERSONA, *question]], ONE)
        assert reads.take() == len(question)
        assert said == cold(model, [[*PERSONA, *question]], ONE)
        reads.take()


def test_an_answer_is_known_when_the_chat_goes_on(
    tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, reads = tiny_model("llama", tokenizer, seed=3), count_fused(monkeypatch)
    eight = Sampling(max_new_tokens=8)
    [answer] = answers(model, [CLICK[1]], eight)
    reads.take()
    turn = [*CLICK[1], *answer, 700, 701, 702]
    [second] = answers(model, [turn], eight)
    assert reads.take() == 1 + 3, "the answer's last token was drawn but not read"
    assert second == cold(model, [turn], eight)[0]


def test_a_chat_turn_whose_gate_flips_reads_its_history_again(
    reader: tuple[LocalModel, Reads],
) -> None:
    model, reads = reader
    lora = random_lora(model, seed=4)
    history, turn = CLICK[0], [*CLICK[0], *range(700, 710)]
    answers(model, [history], ONE)
    reads.take()
    opened = answers(model, [turn], ONE, adapters=[lora])
    assert reads.take() == len(turn), "the adapter changes what is kept"
    closed = answers(model, [turn], ONE)
    assert reads.take() == 10
    again = answers(model, [turn], ONE, adapters=[lora])
    assert reads.take() == 1
    assert opened == again == cold(model, [turn], ONE, adapters=[lora])
    assert closed == cold(model, [turn], ONE) != opened


def test_changed_weights_are_read_anew(reader: tuple[LocalModel, Reads]) -> None:
    model, reads = reader
    before = answers(model, CLICK, ONE)
    with torch.no_grad():
        for weight in model.model.parameters():
            weight.mul_(torch.rand(weight.shape, generator=torch.Generator().manual_seed(1)) + 0.5)
    reads.take()
    after = answers(model, CLICK, ONE)
    assert reads.take() >= len(PERSONA) + 20 + 60 + 5
    assert after == cold(model, CLICK, ONE) != before


def test_a_cache_without_room_costs_time_but_changes_nothing(
    reader: tuple[LocalModel, Reads],
) -> None:
    model, reads = reader
    first = answers(model, CLICK, ONE)
    model._backend._prefixes = PrefixCache(0)
    reads.take()
    assert answers(model, CLICK, ONE) == first
    assert answers(model, CLICK, ONE) == first
    assert reads.take() >= 2 * (20 + 60 + 5 + len(PERSONA))
    assert model._backend._prefixes.bytes == 0


def test_hooks_switch_it_off(tokenizer: PreTrainedTokenizerBase) -> None:
    model = by_library(tiny_model("llama", tokenizer, seed=3))
    plain = answers(model, CLICK, ONE)
    held = model._backend._prefixes.bytes
    linear = model.model.get_submodule("model.layers.1.mlp.up_proj")
    handle = linear.register_forward_hook(lambda _module, _inputs, output: -3 * output)
    hooked = answers(model, CLICK, ONE)
    assert hooked != plain
    assert model._backend._prefixes.bytes == held, "nothing of it was kept"
    handle.remove()
    assert answers(model, CLICK, ONE) == plain


def test_real_prompts_share_their_template(
    tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, reads = tiny_model("llama", tokenizer, seed=3), count_fused(monkeypatch)
    one, two = [(Message("user", q),) for q in ("What is 2 + 2?", "Name a bird.")]
    model.generate([one], ONE)
    reads.take()
    model.generate([two], ONE)
    rows = [encode_prompt(tokenizer, p) for p in (one, two)]
    alike = next(i for i, (a, b) in enumerate(zip(*rows, strict=False)) if a != b)
    assert alike > 20
    assert reads.take() == len(rows[1]) - alike
