"""Work stops inside a forward pass, and leaves nothing behind."""

from __future__ import annotations

import threading

import pytest
from support.gated_parts import judged_pairs, variant_of
from torch import nn

from prism_core.errors import CancelledError
from prism_core.inference.stopping import stoppable
from prism_core.lora.weights import decoder_layers
from prism_core.models.local import LocalModel
from prism_core.prism.ablation.answer_kl import AnswerKl
from prism_core.progress import Progress
from prism_core.types import Message, Sampling

LONG = [(Message("user", f"{i} " + "word " * 250),) for i in range(2)]


def cancel_after_layer(model: LocalModel, number: int, passed: list[int]) -> threading.Event:
    """An event that is set when a layer has been computed; `passed` lists all layers that were."""
    cancel = threading.Event()

    def note(which: int) -> object:
        def hook(_module: nn.Module, _args: object, _output: object) -> None:
            passed.append(which)
            if which == number:
                cancel.set()

        return hook

    for i, layer in enumerate(decoder_layers(model.model)):
        layer.register_forward_hook(note(i))  # type: ignore[arg-type]
    return cancel


@pytest.fixture
def fresh(tiny: LocalModel) -> LocalModel:
    yield tiny  # type: ignore[misc]
    for module in tiny.model.modules():
        module._forward_hooks.clear()


def hooks(model: LocalModel) -> int:
    return sum(len(m._forward_hooks) for m in model.model.modules())


def test_a_prompt_that_is_being_read_can_be_stopped(fresh: LocalModel) -> None:
    passed: list[int] = []
    cancel = cancel_after_layer(fresh, 1, passed)
    before = hooks(fresh)
    answers = fresh.generate(LONG, Sampling(max_new_tokens=4), cancel=cancel)
    assert [a.finish for a in answers] == ["cancelled"] * 2
    assert [a.tokens for a in answers] == [0, 0]
    assert passed == [0, 1], "layer 2 was not computed"
    assert hooks(fresh) == before


def test_choices_that_are_being_scored_can_be_stopped(fresh: LocalModel) -> None:
    passed: list[int] = []
    cancel = cancel_after_layer(fresh, 0, passed)
    with pytest.raises(CancelledError):
        fresh.score_choices(LONG, [["yes", "no"]] * 2, cancel=cancel)
    assert passed == [0]
    assert not fresh.score_choices([], [])


def test_a_teacher_that_reads_can_be_stopped(fresh: LocalModel) -> None:
    passed: list[int] = []
    progress = Progress(cancel=cancel_after_layer(fresh, 1, passed))
    with pytest.raises(CancelledError):
        AnswerKl([j.pair for j in judged_pairs()], variant_of, fresh, progress)
    assert passed == [0, 1]


def test_without_an_event_no_hook_is_set(fresh: LocalModel) -> None:
    with stoppable(fresh.model, None):
        assert hooks(fresh) == 0
    with stoppable(fresh.model, threading.Event()):
        assert hooks(fresh) == 3
    assert hooks(fresh) == 0
