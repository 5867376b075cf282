"""What every tab that starts a run shares: check, measure where it helps, put it in the queue.

How many unfinished runs a visitor may have is decided here, for all tabs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import gradio as gr

from app.common.shared import MEASURES, QUIET, Shared, Updates, fragment
from app.common.text import loading, notice
from app.services.clients import client_of
from app.services.run_limits import UNFINISHED
from app.services.speed_probes import machine_sentence
from app.services.visitor import need_visitor
from prism_core.errors import InputError, PrismError
from prism_core.models.sources import is_remote
from prism_core.prism.forecast import SpeedProbe
from prism_core.storage import RunKind, Store, pack
from prism_core.types import Persona

MEASURE, MEASURE_AGAIN = "Measure this machine (about 10 s)", "Measure again (about 10 s)"


class Named(Protocol):
    """What a run is told, under a name."""

    @property
    def name(self) -> str:
        """The run's name as shown to people."""


SpecT = TypeVar("SpecT", bound=Named)


@dataclass(frozen=True)
class RunForm:
    """The components of any run's form; a tab adds its own."""

    fold: gr.Accordion
    by_name: Mapping[str, Any]
    """The fields that a spec is read from, in the page's order."""
    plan: gr.HTML
    start: gr.Button
    status: gr.HTML

    @property
    def fields(self) -> list[Any]:
        """The components that a spec is read from."""
        return list(self.by_name.values())


@dataclass(frozen=True)
class MeasuredForm(RunForm):
    """A form whose plan is estimated from what the machine was measured to do."""

    measure: gr.Button
    measuring: gr.HTML


@contextmanager
def form_fold(title: str, elem_id: str) -> Iterator[gr.Accordion]:
    """Lay out what holds a form: a card with the fields, then one with the plan."""
    with (
        gr.Accordion(title, open=True, elem_id=elem_id) as fold,
        gr.Row(elem_classes="px-train-setup", equal_height=False),
    ):
        yield fold


def build_plan(prefix: str) -> dict[str, Any]:
    """Lay out the plan of a `MeasuredForm`; return its components by name."""
    with gr.Column(elem_classes="px-card", scale=2, min_width=320):
        return {
            "plan": fragment(elem_id=f"{prefix}-plan"),
            "measuring": fragment(elem_id=f"{prefix}-measuring"),
            "measure": gr.Button(MEASURE, size="sm", elem_id=f"{prefix}-measure"),
        }


def check_unfinished(store: Store, owner: str, most: int, kind: RunKind | None = None) -> None:
    """Raise an `InputError` while `most` of a visitor's runs, of a kind or any, have not ended."""
    if len(store.list_runs(owner, kind, statuses=UNFINISHED)) >= most:
        noun = "studies" if kind == "study" else "runs"
        raise InputError(
            f"You have {most} unfinished {noun} already. Wait for one to end, or cancel it."
        )


@dataclass(frozen=True)
class RunStarter(ABC, Generic[SpecT]):
    """The listeners that check and start a run."""

    kind: ClassVar[RunKind]
    counts_alone: ClassVar[bool] = False
    """Whether other kinds of run leave room for one of this."""

    shared: Shared
    form: RunForm
    run_id: gr.Textbox

    @property
    def inputs(self) -> list[Any]:
        """The components whose values `spec` reads."""
        return self.form.fields

    def named(self, values: Sequence[Any]) -> dict[str, Any]:
        """Return the values of the form's fields by name."""
        return dict(zip(self.form.by_name, values, strict=True))

    @abstractmethod
    def spec(self, *values: Any) -> SpecT:
        """Return the run that the form describes.

        Raises:
            InputError, NotFoundError: a value is not allowed.
        """

    @abstractmethod
    def check(self, spec: SpecT, owner: str) -> None:
        """Find out what the form cannot know.

        Raises:
            PrismError: something that the run needs is missing.
        """

    def start(self, request: gr.Request, visitor: object, *values: Any) -> Updates:
        """Put the run in the queue."""
        try:
            owner = need_visitor(visitor)
            spec = self.spec(*values)
            self.check(spec, owner)
            counted = self.kind if self.counts_alone else None
            check_unfinished(self.shared.store, owner, self.shared.settings.max_unfinished, counted)
            client = client_of(request)
            run_id = self.shared.jobs.submit(self.kind, spec.name, pack(spec), owner, client)
        except PrismError as error:
            return {self.form.status: notice("error", str(error))}
        return {self.form.status: "", self.run_id: run_id, self.form.fold: gr.Accordion(open=False)}

    def wire_start(self, event: Any) -> Any:
        """Start a run at an event; return the event after which `run_id` names it."""
        inputs = [self.shared.visitor_state, *self.inputs]
        return event(self.start, inputs, [self.form.status, self.run_id, self.form.fold], **QUIET)


@dataclass(frozen=True)
class MeasuredStarter(RunStarter[SpecT]):
    """The listeners where a plan promises times, from a short measurement of the machine."""

    form: MeasuredForm
    library: Mapping[str, Persona]

    @property
    def inputs(self) -> list[Any]:
        """The visitor's own personas, then the fields."""
        return [self.shared.personas_state, *self.form.fields]

    @abstractmethod
    def model(self, spec: SpecT) -> str:
        """Return the model whose speed decides."""

    @abstractmethod
    def panel(self, spec: SpecT) -> str:
        """Say what the run will do, with times where they are known."""

    def plan(self, *values: Any) -> Updates:
        """Say what the run will do."""
        try:
            return self._planned(self.spec(*values))
        except PrismError as error:
            shown = notice("warn", str(error))
            return {self.form.plan: shown, self.form.measure: gr.Button(visible=False)}

    def measure(self, *values: Any) -> Iterator[Updates]:
        """Measure the machine, and say meanwhile what is being measured."""
        form, probes = self.form, self.shared.probes
        try:
            spec = self.spec(*values)
            probes.forget(self.model(spec))
            for report in probes.measure(self.model(spec)):
                line = report.note[:1].upper() + report.note[1:] + "…"
                busy = loading(line, report.done, report.total)
                yield {form.measure: gr.Button(visible=False), form.measuring: busy}
            yield {**self._planned(spec), form.measuring: ""}
        except PrismError as error:
            shown = notice("error", str(error))
            yield {form.measure: gr.Button(visible=True), form.measuring: shown}

    def measure_if_ready(self, *values: Any) -> Iterator[Updates]:
        """Measure when the tab is opened, unless a model would have to be loaded first."""
        probes, wanted = self.shared.probes, False
        with suppress(PrismError):  # which the plan tells
            model = self.model(self.spec(*values))
            ready = model == self.shared.settings.default_model or probes.is_ready(model)
            wanted = ready and probes.known(model) is None
        if wanted:
            yield from self.measure(*values)
        else:
            yield {**self.plan(*values), self.form.measuring: ""}

    def measured(self, model: str) -> tuple[SpeedProbe | None, str]:
        """Return what is known of the machine with a model, and a sentence about it."""
        probe = self.shared.probes.known(model)
        if probe is None:
            return None, ""
        return probe, machine_sentence(probe, self.shared.probes.was_busy(model))

    def _planned(self, spec: SpecT) -> Updates:
        model = self.model(spec)
        label = MEASURE if self.shared.probes.known(model) is None else MEASURE_AGAIN
        button = gr.Button(label, visible=not is_remote(model))
        return {self.form.plan: self.panel(spec), self.form.measure: button}

    def wire_plan(self, edits: Sequence[Any], tab: gr.Tab) -> None:
        """Plan anew whenever one of `edits` happens, and when the tab is opened.

        The page does an event's listeners one after another: what clears an old refusal comes
        before the plan, or it would clear the answer to a click on Start as well.
        """
        form, plan = self.form, [self.form.plan, self.form.measure]
        gr.on(edits, None, None, form.status, js="() => ''", api_visibility="private")
        gr.on(edits, self.plan, self.inputs, plan, trigger_mode="always_last", **QUIET)
        # The plan at once; the measuring waits for its turn at the model.
        tab.select(self.plan, self.inputs, plan, **QUIET)

    def wire_measuring(self, tab: gr.Tab) -> None:
        """Measure the machine at a click, and when the tab is opened for the first time.

        The page does an event's listeners one after another, so this, which takes long, comes last.
        """
        form = self.form
        for event, listener in (
            (form.measure.click, self.measure),
            (tab.select, self.measure_if_ready),
        ):
            event(
                listener,
                self.inputs,
                [form.plan, form.measure, form.measuring],
                show_progress="hidden",
                api_visibility="private",
                **MEASURES,
            )
