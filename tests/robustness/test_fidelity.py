"""Persona fidelity by hand, the questions behind it, and the Robustness figure."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from support.paths import SHARED_DATA

from prism_core.analysis.pick import read_pick
from prism_core.errors import InputError, NotFoundError
from prism_core.figures.robustness import draw_robustness
from prism_core.progress import Progress
from prism_core.robustness.fidelity import (
    FidelityAnswer,
    FidelityConfig,
    expected_score,
    has_marker,
    measure_fidelity,
    summarise,
)
from prism_core.robustness.persona_gym import GYM_TASKS, GymPersona, own_personas, public_personas
from prism_core.robustness.points import RobustnessPoint, keep_point, load_points
from prism_core.types import ChoiceScore, Completion, Estimate


def test_the_expected_score_by_hand() -> None:
    # Probabilities 1/2 for 4 and 1/2 for 5, next to nothing elsewhere: 4.5.
    assert expected_score([-90, -90, -90, -1, -1]) == pytest.approx(4.5)
    # All alike: the mean of 1 to 5. The level of the log-probabilities does not matter.
    assert expected_score([-700.0] * 5) == pytest.approx(3.0)
    # Weights 1, 2, 1 on 1, 2, 3: (1 + 4 + 3) / 4 = 2.
    assert expected_score([0.0, math.log(2), 0.0, -900, -900]) == pytest.approx(2.0)


def test_markers_are_whole_words_and_absent_where_there_are_none() -> None:
    pirate = next(p for p in own_personas() if p.name == "pirate")
    assert has_marker(pirate, "Arr, a sail!") == 1.0
    assert has_marker(pirate, "I saw an arrow at the seaside.") == 0.0
    assert has_marker(pirate, "") == 0.0
    assert has_marker(GymPersona("x", "You are x.", {}), "arr") is None


def answer(task: str, score: float, marked: float | None, plain: float | None) -> FidelityAnswer:
    return FidelityAnswer("p", task, f"q{score}{marked}{plain}", "a", score, marked, plain)


def test_the_persona_score_weighs_tasks_alike_however_many_answers_they_have() -> None:
    # Four tasks of one answer with 5, and one of three answers with 1: (4 x 5 + 1) / 5 = 4.2.
    answers = [answer(t, 5.0, 1.0, 0.0) for t in GYM_TASKS[:4]]
    answers += [FidelityAnswer("p", GYM_TASKS[4], f"q{i}", "a", 1.0, 0.0, 0.0) for i in range(3)]
    found = summarise(answers, "model", "judge")
    assert found.persona_score.value == pytest.approx(4.2)
    assert found.tasks[GYM_TASKS[4]].value == 1.0
    # Marked in 4 of 7 with the persona, in none without.
    assert found.markers.value == pytest.approx(4 / 7)
    assert found.markers_gain.value == pytest.approx(4 / 7)
    # A task without answers leaves the score undefined, never 0.
    assert summarise(answers[:4], "model", "judge").persona_score.value is None


class Actor:
    """In character when it is told to be, and a judge that loves the sea."""

    name, fingerprint, has_system_role = "actor", "actor", True

    def generate(self, prompts, sampling, seed=0, *, cancel=None):
        return [Completion("Arr, the sea!" if p[0].role == "system" else "Hello.") for p in prompts]

    def score_choices(self, prompts, choices, *, cancel=None):
        liked = ["the sea!" in p[-1].content for p in prompts]
        return [
            [ChoiceScore(0.0 if f == ("5" if like else "1") else -90.0, 1) for f in "12345"]
            for like in liked
        ]


def test_from_question_to_score() -> None:
    pirate = [p for p in own_personas() if p.name == "pirate"]
    actor = Actor()
    found = measure_fidelity(FidelityConfig(), actor, actor, pirate, Progress())
    assert len(found.answers) == 10
    assert found.persona_score.value == pytest.approx(5.0)
    assert (found.markers.value, found.markers_gain.value) == (1.0, 1.0)


def test_our_own_questions_cover_all_tasks() -> None:
    found = own_personas()
    assert len(found) >= 4 and len({p.name for p in found}) == len(found)
    for persona in found:
        assert set(persona.questions) == set(GYM_TASKS) and persona.markers
        assert all(len(asked) >= 2 for asked in persona.questions.values())


@pytest.mark.skipif(not (SHARED_DATA / "personagym").is_dir(), reason="the data is not here")
def test_the_public_questions_where_they_are() -> None:
    four = public_personas(SHARED_DATA, 4, seed=1)
    assert four == public_personas(SHARED_DATA, 6, seed=1)[:4]
    for persona in four:
        assert persona.text.startswith("You are a") and not persona.markers
        assert [len(q) for q in persona.questions.values()] == [10] * 5


def test_missing_and_damaged_questions_are_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="PersonaGym"):
        public_personas(tmp_path, 3)
    folder = tmp_path / "personagym" / "questions"
    folder.mkdir(parents=True)
    (folder / "A clerk.json").write_text(json.dumps({"Toxicity": ["Why?"]}))
    with pytest.raises(InputError, match="Expected Action"):
        public_personas(tmp_path, 3)


def estimate(value: float) -> Estimate:
    return Estimate(value, value - 0.05, value + 0.05, 40)


def test_points_are_kept_by_label_and_drawn(tmp_path: Path) -> None:
    path = tmp_path / "robustness.json"
    keep_point("base", "m", path, stability=estimate(0.3), task="needle")
    assert draw_robustness(load_points([path])).is_empty  # fidelity is not there yet
    keep_point("base", "m", path, fidelity=estimate(3.0), judge="m")
    keep_point("<b>rl</b>", "m + a", path, stability=estimate(0.6), fidelity=estimate(2.9))
    points = load_points([path, tmp_path / "none.json"])
    assert points[0] == RobustnessPoint(
        "base", "m", estimate(0.3), task="needle", fidelity=estimate(3.0), judge="m"
    )
    found = draw_robustness(points)
    assert len(found.data) == len(found.picks) == 2
    assert "steadiest" in found.reading and "apart" in found.reading
    drawn = found.figure.data[1]
    assert (drawn.x, drawn.y) == ((0.6,), (2.9,))
    assert drawn.error_x.array[0] == pytest.approx(0.05)
    assert "<b>rl" not in found.figure.to_json()
    assert read_pick(found.picks[1]).model == "m + a"
    with pytest.raises(InputError, match="another label"):
        keep_point("base", "other", path)
    path.write_text("[1]")
    with pytest.raises(InputError, match="robustness"):
        load_points([path])
