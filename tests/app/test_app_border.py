"""Every listener of the page, called by a program with values of the wrong types."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import gradio as gr
import pytest
from gradio.state_holder import SessionState

from app.server.border import Page
from app.server.page import build_page
from app.services.jobs import Jobs
from app.services.model_pool import ModelPool
from app.services.settings import Settings
from app.services.study_shelf import StudyImports
from prism_core.errors import InputError, NotFoundError
from prism_core.storage import Store

ODD = (None, {"path": "/etc/passwd"})
MORE = ("x", [], {}, -1, "\0", [[1]])


def no_model(reference: str, *_: object) -> None:
    raise NotFoundError(f"There is no model {reference!r} in this test.")


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> gr.Blocks:
    monkeypatch.delenv("PRISM_DATABASE_URL", raising=False)
    settings, store = Settings(cache=tmp_path / "cache"), Store(home=tmp_path)
    imports = StudyImports(tmp_path / "studies", settings)
    return build_page(settings, ModelPool(no_model), store, Jobs(store), imports)


def call(page: gr.Blocks, number: int, inputs: list[object]) -> str | None:
    """Call a listener as the server does; return the sentence where there is no answer."""
    request = gr.Request(username=None, session_hash="odd")
    state = SessionState(page)
    try:
        asyncio.run(page.process_api(number, inputs, state, request=request, session_hash="odd"))
    except gr.Error as error:
        return str(error.message)
    return None


@pytest.mark.parametrize("values", [ODD, pytest.param(MORE, marks=pytest.mark.slow)])
def test_every_listener_answers_wrong_types_with_a_sentence(
    page: gr.Blocks, values: tuple[object, ...]
) -> None:
    logging.disable(logging.CRITICAL)  # what Gradio raises is for the log, and there is much of it
    try:
        said = {
            (one.api_name, repr(value)): call(page, number, [value] * len(one.inputs))
            for number, one in page.fns.items()
            if one.fn is not None and not one.js
            for value in values
        }
    finally:
        logging.disable(logging.NOTSET)
    assert len(said) > 150 * len(values)
    sentences = [text for text in said.values() if text is not None]
    assert len(sentences) > 40
    assert [text for text in sentences if len(text) < 20 or "Traceback" in text] == []


@pytest.mark.parametrize(
    ("name", "given", "sentence"),
    [
        ("compare", {0: None}, "question must be a text, not nothing."),
        ("compare", {0: "Hi", 2: "huge"}, "length is 'huge'; it must be one of min, short, long."),
        ("compare", {0: "Hi", 5: "many"}, "max_new_tokens is 'many'; it must be a whole number."),
        ("compare", {0: "Hi", 5: 1.5}, "max_new_tokens is 1.5; it must be a whole number."),
        ("compare", {0: "Hi", 4: "prism"}, "arms"),
        ("judge", {0: "Hi", 1: {}, 2: "b"}, "persona_answer must be a text, not a mapping."),
    ],
)
def test_the_api_names_the_argument(
    page: gr.Blocks, name: str, given: dict[int, object], sentence: str
) -> None:
    number, one = next((n, f) for n, f in page.fns.items() if f.api_name == name)
    inputs = [given.get(place, part.value) for place, part in enumerate(one.inputs)]
    assert sentence in (call(page, number, inputs) or "")


def test_our_own_errors_pass_in_their_own_words() -> None:
    with Page() as page:
        place = gr.Textbox()

        def refuse(text: str) -> str:
            raise InputError(f"{text!r} is not allowed; give a number.")

        gr.on([place.change], refuse, place, place)
    (number,) = page.fns
    assert call(page, number, ["x"]) == "'x' is not allowed; give a number."
