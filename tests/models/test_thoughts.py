"""Thoughts are split from answers, whole and while they stream."""

import pytest

from prism_core.models.thoughts import split_thought


@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        ("", "", ""),
        ("Plain answer.", "", "Plain answer."),
        ("<think>2+2=4</think>\n\nFour.", "2+2=4", "Four."),
        ("<think>still going", "still going", ""),
        ("opened by the template</think>Four.", "opened by the template", "Four."),
        ("<think>a</think>One.<think>b</think> Two.", "a\n\nb", "One. Two."),
        ("<think></think>Four.", "", "Four."),
        ("<think>\n\n</think>\n\nFour.", "", "Four."),
        ("a < b and b > c", "", "a < b and b > c"),
        ("so x <thin", "", "so x "),
        ("<think>maybe</thi", "maybe", ""),
        ("  leading blanks stay", "", "  leading blanks stay"),
    ],
)
def test_split(text, thought, answer):
    assert split_thought(text) == (thought, answer)


def test_streaming_never_takes_back_and_never_shows_a_tag():
    whole = "<think>Seven times six.\nForty-two.</think>\n\nIt is 42, since 6 < 7."
    final_thought, final_answer = split_thought(whole)
    for end in range(len(whole) + 1):
        thought, answer = split_thought(whole[:end])
        assert final_thought.startswith(thought)
        assert final_answer.startswith(answer)
        assert "think" not in thought + answer
    assert (final_thought, final_answer) == (
        "Seven times six.\nForty-two.",
        "It is 42, since 6 < 7.",
    )
