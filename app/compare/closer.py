"""A closer look under the answers: the words' difference, the persona's pull, the judge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import gradio as gr
from gradio.blocks import Block

from app.common.shared import QUIET, USES_MODEL, Updates, fragment
from app.common.text import notice
from app.compare.shown import Shown
from app.compare.views.cards import arm_title
from app.compare.views.closer import diff_panel, pull_panel, verdict_panel
from app.services.model_pool import ModelPool
from prism_core.compare.logprob_shift import logprob_shift
from prism_core.errors import PrismError
from prism_core.scorers.judges import judge_pair

NOTHING = "There is no finished answer to look at yet."


@dataclass(frozen=True)
class Closer:
    """The closer look's components."""

    box: gr.Column
    left: gr.Dropdown
    right: gr.Dropdown
    diff: gr.HTML
    whose: gr.Radio
    pull_run: gr.Button
    pull: gr.HTML
    challenger: gr.Dropdown
    judge_run: gr.Button
    judge: gr.HTML

    @property
    def outputs(self) -> list[Block]:
        """What `CloserHandlers.refresh` sets."""
        choices = [self.left, self.right, self.whose, self.challenger]
        return [self.box, *choices, self.diff, self.pull, self.judge]


def build_closer() -> Closer:
    """Lay the closer look out; it is hidden until there are answers."""
    with gr.Column(visible=False, elem_id="px-closer", elem_classes="px-card") as box:
        fragment("<h2>Look closer</h2>")
        with gr.Accordion("The difference, word by word", open=False, elem_id="px-fold-diff"):
            with gr.Row(elem_classes="px-row"):
                left = gr.Dropdown(label="Between", elem_id="px-left")
                right = gr.Dropdown(label="and", elem_id="px-right")
            diff = fragment(elem_id="px-diff")
        with gr.Accordion("Where the persona pulled", open=False, elem_id="px-fold-pull"):
            fragment(
                '<p class="px-help">How much likelier each token became because the model was told '
                "who to be: log p(token | persona) &minus; log p(token | neutral), in nats.</p>"
            )
            with gr.Row(elem_classes="px-row px-end"):
                whose = gr.Radio(label="In which answer", elem_id="px-whose")
                pull_run = gr.Button("Show the pull", elem_id="px-pull-run", scale=0)
            pulled = fragment(elem_id="px-pull")
        with gr.Accordion("Judge it", open=False, elem_id="px-fold-judge"):
            fragment(
                '<p class="px-help">The model compares two answers twice, with their order '
                "swapped, and never hears who wrote what.</p>"
            )
            with gr.Row(elem_classes="px-row px-end"):
                challenger = gr.Dropdown(label="Neutral against", elem_id="px-challenger")
                judge_run = gr.Button("Judge it", elem_id="px-judge-run", scale=0)
            judge = fragment(elem_id="px-judge")
    return Closer(box, left, right, diff, whose, pull_run, pulled, challenger, judge_run, judge)


@dataclass(frozen=True)
class CloserHandlers:
    """The listeners around the closer look; two of them ask the model about its answers."""

    panel: Closer
    pool: ModelPool

    def refresh(self, shown: Shown | None) -> Updates:
        """Offer the arms that answered; nothing while arms are hidden."""
        closer = self.panel
        arms = () if shown is None or shown.is_hidden else shown.answered
        if not arms:
            return {closer.box: gr.Column(visible=False)}
        left, right = arms[0], arms[min(1, len(arms) - 1)]
        whose = [arm for arm in ("persona", "neutral") if arm in arms]
        rivals = [arm for arm in arms if arm != "neutral"] if "neutral" in arms else []
        return {
            closer.box: gr.Column(visible=True),
            closer.left: gr.Dropdown(_choices(arms), value=left),
            closer.right: gr.Dropdown(_choices(arms), value=right),
            closer.diff: self.show_diff(shown, left, right),
            closer.whose: gr.Radio(_choices(whose), value=next(iter(whose), None)),
            closer.pull: "",
            closer.challenger: gr.Dropdown(_choices(rivals), value=next(iter(rivals), None)),
            closer.judge: "",
        }

    def show_diff(self, shown: Shown | None, left: str, right: str) -> str:
        """Show the word-level difference between two arms."""
        if shown is None or shown.is_hidden:
            return notice("info", NOTHING)
        if left == right:
            return notice("info", "Choose two different answers to see where they differ.")
        texts = shown.text_of(left), shown.text_of(right)
        if not all(texts):
            return notice("info", NOTHING)
        return diff_panel(*texts, arm_title(left), arm_title(right))

    def show_pull(self, shown: Shown | None, whose: str | None) -> Iterator[str]:
        """Show where the persona pulled, in the persona's or the neutral answer."""
        if shown is None or shown.is_hidden or whose not in ("persona", "neutral"):
            yield notice("info", "This needs an answer by the persona or the neutral arm.")
            return
        request = shown.order.request
        persona = request.variant.persona
        title = persona.title if persona is not None else ""
        yield notice("busy", "Reading the answer with and without the persona.")
        try:
            with self.pool.lend(shown.order.selection.model) as model:
                pulled = logprob_shift(
                    request.question, shown.text_of(whose), request.variant, model
                )
        except PrismError as error:
            yield notice("error", str(error))
            return
        name = "its own answer" if whose == "persona" else "the neutral answer"
        yield pull_panel(pulled, title, name)

    def show_verdict(self, shown: Shown | None, challenger: str | None) -> Iterator[str]:
        """Show the model's own verdict on an arm against the neutral one, in both orders."""
        if shown is None or shown.is_hidden or not challenger:
            yield notice("info", "The judge needs the neutral answer and one other.")
            return
        yield notice("busy", "Judging both orders.")
        neutral, other = shown.text_of("neutral"), shown.text_of(challenger)
        try:
            with self.pool.lend(shown.order.selection.model) as model:
                verdict = judge_pair(shown.order.request.question, other, neutral, model)
        except PrismError as error:
            yield notice("error", str(error))
            return
        yield verdict_panel(verdict, shown.model_name, arm_title(challenger))


def wire_closer(handlers: CloserHandlers, shown: gr.State) -> None:
    """Connect the closer look's own controls."""
    closer = handlers.panel
    gr.on(
        [closer.left.input, closer.right.input],
        handlers.show_diff,
        [shown, closer.left, closer.right],
        closer.diff,
        **QUIET,
    )
    for button, listener, choice, panel in (
        (closer.pull_run, handlers.show_pull, closer.whose, closer.pull),
        (closer.judge_run, handlers.show_verdict, closer.challenger, closer.judge),
    ):
        button.click(
            listener,
            [shown, choice],
            panel,
            show_progress="minimal",
            api_visibility="private",
            **USES_MODEL,
        )


def _choices(arms: Sequence[str]) -> list[tuple[str, str]]:
    return [(arm_title(arm), arm) for arm in arms]
