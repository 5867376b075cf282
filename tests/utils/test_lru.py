"""The bounded mapping."""

from __future__ import annotations

from prism_core.utils.lru import LRU


def test_what_was_used_longest_ago_goes_first() -> None:
    kept: LRU[str, int] = LRU(2)
    for key in "ab":
        kept.put(key, ord(key))
    assert kept.get("a") == ord("a")
    assert "b" in kept  # a look, no use
    kept.put("c", 0)
    assert [key in kept for key in "abc"] == [True, False, True]
    assert kept.get("b") is None
    kept.pop("a")
    kept.pop("a")
    assert "a" not in kept


def test_a_value_is_made_once() -> None:
    kept: LRU[str, list[int]] = LRU(1)
    made = kept.get_or_make("a", list)
    assert kept.get_or_make("a", list) is made
    assert kept.get_or_make("b", list) is not made
    assert "a" not in kept
