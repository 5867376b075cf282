"""Stage 2: pairs in shared batches, and going on after a crash."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.scripted import Scripted

from prism_core.errors import CancelledError, InputError, NotFoundError
from prism_core.models.local import LocalModel
from prism_core.personas.library import load_personas
from prism_core.personas.prompts import build_prompt
from prism_core.prism.bootstrap.answers import STAGE, AnswerConfig, answer_queries
from prism_core.prism.records import AnswerPair, Query
from prism_core.progress import Progress
from prism_core.storage import Store
from prism_core.storage.journal import Journal, MemoryJournal, StoreJournal
from prism_core.types import Completion, Persona, Prompt, PromptVariant, Sampling

COOK = Persona("cook", "Cook", "expert", "cooking", {"min": "You cook."})
POET = Persona("poet", "Poet", "expert", "poems", {"min": "You rhyme."})
PEOPLE = {"cook": COOK, "poet": POET}
QUERIES = tuple(
    Query(f"q{i}", name, "all", f"What is number {i}?")
    for i, name in enumerate(["cook", "poet", "cook", "poet", "cook", "poet", "cook"])
)
CONFIG = AnswerConfig(length="min", batch_pairs=3)


def echo(prompt: Prompt, seed: int) -> str:
    return f"{' / '.join(m.content for m in prompt)} [{seed}]"


def run(model: Scripted, journal: Journal, progress: Progress | None = None) -> list[AnswerPair]:
    return answer_queries(CONFIG, QUERIES, PEOPLE, model, journal, progress or Progress())


def test_both_answers_of_a_pair_share_a_batch_and_a_seed() -> None:
    model = Scripted(echo)
    pairs = run(model, MemoryJournal())
    assert model.calls == [6, 6, 2], "7 pairs in batches of 3 pairs: 6 + 6 + 2 rows"
    assert [p.query for p in pairs] == list(QUERIES)
    first = pairs[0]
    said, seed = first.persona.text.split(" [")
    assert said == "You cook. / What is number 0?"
    assert first.neutral.text == f"What is number 0? [{seed}"
    assert len({p.neutral.text.split(" [")[1] for p in pairs}) == 7, "a seed a question"


def test_another_generator_may_answer_without_the_persona() -> None:
    student = Scripted(lambda p, s: f"student: {p[-1].content}")
    teacher = Scripted(echo)
    pairs = answer_queries(
        CONFIG, QUERIES, PEOPLE, teacher, MemoryJournal(), Progress(), neutral=student
    )
    assert (teacher.calls, student.calls) == ([3, 3, 1], [3, 3, 1])
    assert pairs[1].neutral.text == "student: What is number 1?"
    assert pairs[1].persona.text.startswith("You rhyme.")


def test_without_a_system_role_the_persona_stands_in_the_question() -> None:
    model = Scripted(echo)
    model.has_system_role = False
    assert run(model, MemoryJournal())[0].persona.text.startswith("You cook.\n\nWhat is number 0?")


@pytest.mark.parametrize("crash", [1, 2, 3])
def test_resumed_after_a_crash_equals_uninterrupted(tmp_path: Path, crash: int) -> None:
    expected = run(Scripted(echo), MemoryJournal())
    with Store(home=tmp_path) as store:
        journal = StoreJournal(store, store.create_run("train", "t", {}).id)
        broken = Scripted(echo)
        broken.fail_at = crash
        with pytest.raises(RuntimeError, match="went down"):
            run(broken, journal)
        assert len(store.get_records(journal.run_id, STAGE)) == 1 + 3 * (crash - 1)
        rest = Scripted(echo)
        assert run(rest, journal) == expected
    assert rest.calls == [6, 6, 2][crash - 1 :]


def test_a_cancelled_batch_is_not_journaled() -> None:
    journal, model = MemoryJournal(), Scripted(echo)
    model.cancel_at = 2
    with pytest.raises(CancelledError):
        run(model, journal)
    kept = [k for k in journal.load(STAGE) if not k.startswith("#")]
    assert kept == ["q0", "q1", "q2"]
    assert run(Scripted(echo), journal) == run(Scripted(echo), MemoryJournal())


def test_mistakes_in_the_inputs_are_named() -> None:
    def ask(config: AnswerConfig, queries: tuple[Query, ...]) -> None:
        answer_queries(config, queries, PEOPLE, Scripted(echo), MemoryJournal(), Progress())

    with pytest.raises(NotFoundError, match="'nobody'"):
        ask(CONFIG, (replace(QUERIES[0], persona="nobody"),))
    with pytest.raises(InputError, match="'q0'"):
        ask(CONFIG, QUERIES[:1] * 2)
    with pytest.raises(InputError, match="no question"):
        ask(CONFIG, ())
    with pytest.raises(InputError, match="huge"):
        ask(replace(CONFIG, length="huge"), QUERIES)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no text of length 'long'"):
        ask(replace(CONFIG, length="long"), QUERIES)


def test_another_placement_on_the_same_run_is_refused() -> None:
    journal = MemoryJournal()
    run(Scripted(echo), journal)
    with pytest.raises(InputError, match="begun with other settings"):
        answer_queries(
            replace(CONFIG, placement="user"), QUERIES, PEOPLE, Scripted(echo), journal, Progress()
        )


def text_and_tokens(completion: Completion) -> tuple[str, int, str]:
    """All but the times, which differ from run to run."""
    return completion.text, completion.tokens, completion.finish


def test_the_embedded_model_answers_pairs_as_it_would_alone(model: LocalModel) -> None:
    library = load_personas()
    queries = (
        Query("a", "math", "sums", "What is 7 times 8?"),
        Query("b", "coding", "loops", "How do I reverse a list in Python?"),
        Query("c", "critic", "plans", "Is a diet of bread alone healthy?"),
        Query("d", "math", "sums", "Why is one not a prime number?"),
    )
    sampling = Sampling(max_new_tokens=10, temperature=0.0)
    config = AnswerConfig(length="long", sampling=sampling, batch_pairs=4)
    pairs = answer_queries(config, queries, library, model, MemoryJournal(), Progress())
    for pair in pairs:
        variant = PromptVariant(library[pair.query.persona], "long")
        for completion, chosen in ((pair.persona, variant), (pair.neutral, PromptVariant())):
            alone = model.generate([build_prompt(pair.query.text, chosen)], sampling)[0]
            assert text_and_tokens(completion) == text_and_tokens(alone)
    assert any(p.persona.text != p.neutral.text for p in pairs), "a persona changes something"
    assert all(p.persona.prompt_tokens > 100 + p.neutral.prompt_tokens for p in pairs)
