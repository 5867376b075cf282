"""What every tab that starts a run shares: check, measure where it helps, put it in the queue.

How many unfinished runs a visitor may have is decided here, for all tabs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import gradio as gr
from gradio.components import Component

from app.common.shared import USES_MODEL, Shared
from app.common.text import loading, notice
from app.services.visitor import need_visitor
from prism_core.errors import InputError, PrismError
from prism_core.models.sources import REMOTE
from prism_core.storage import RunKind, RunStatus, Store, pack
from prism_core.types import Persona

MEASURE, MEASURE_AGAIN = "Measure this machine (about 10 s)", "Measure again (about 10 s)"
UNFINISHED: tuple[RunStatus, ...] = ("queued", "running", "cancelling")


class Named(Protocol):
    """What a run is told, under a name."""

    @property
    def name(self) -> str:
        """The run's name as shown to people."""


SpecT = TypeVar("SpecT", bound=Named)


def check_unfinished(store: Store, owner: str, most: int, kind: RunKind | None = None) -> None:
    """Refuse a visitor's next run while `most` of this kind, or of any, have not ended.

    Raises:
        InputError: there are as many already.
    """
    if len(store.list_runs(owner, kind, statuses=UNFINISHED)) >= most:
        noun = "studies" if kind == "study" else "runs"
        raise InputError(
            f"You have {most} unfinished {noun} already. Wait for one to end, or cancel it."
        )


@dataclass(frozen=True)
class RunStarter(ABC, Generic[SpecT]):
    """The listeners that check and start a run."""

    kind: ClassVar[RunKind]

    shared: Shared

    @abstractmethod
    def spec(self, *values: Any) -> SpecT:
        """The run that the form describes.

        Raises:
            InputError, NotFoundError: a value is not allowed.
        """

    @abstractmethod
    def check(self, spec: SpecT, owner: str) -> None:
        """Find out what the form cannot know.

        Raises:
            PrismError: something that the run needs is missing, or it is one too many.
        """

    def start(self, visitor: object, *values: Any) -> tuple[str, Any, Any]:
        """Put the run in the queue; gives (status, run id, set-up)."""
        try:
            owner = need_visitor(visitor)
            spec = self.spec(*values)
            self.check(spec, owner)
            run_id = self.shared.jobs.submit(self.kind, spec.name, pack(spec), owner)
        except PrismError as error:
            return notice("error", str(error)), gr.skip(), gr.skip()
        return "", run_id, gr.Accordion(open=False)


@dataclass(frozen=True)
class MeasuredStarter(RunStarter[SpecT]):
    """The listeners where a plan promises times, from a short measurement of the machine."""

    library: Mapping[str, Persona]

    @abstractmethod
    def model(self, spec: SpecT) -> str:
        """The model whose speed decides."""

    @abstractmethod
    def chosen_model(self, *values: Any) -> str:
        """The model that the form names, empty where it cannot be told."""

    @abstractmethod
    def panel(self, spec: SpecT) -> str:
        """What the run will do, with times where they are known."""

    def plan(self, *values: Any) -> tuple[str, Any]:
        """What the run will do; gives (plan, measure button)."""
        try:
            spec = self.spec(*values)
            return self.panel(spec), self._button(spec)
        except PrismError as error:
            return notice("warn", str(error)), gr.Button(visible=False)

    def measure(self, *values: Any) -> Iterator[tuple[Any, Any, Any]]:
        """Measure the machine; yields (plan, measure button, what is being measured)."""
        try:
            spec = self.spec(*values)
            self.shared.probes.forget(self.model(spec))
            for report in self.shared.probes.measure(self.model(spec)):
                line = report.note[:1].upper() + report.note[1:] + "…"
                busy = loading(line, report.done, report.total)
                yield gr.skip(), gr.Button(visible=False), busy
            yield self.panel(spec), self._button(spec), ""
        except PrismError as error:
            yield gr.skip(), gr.Button(visible=True), notice("error", str(error))

    def measure_if_ready(self, *values: Any) -> Iterator[tuple[Any, Any, Any]]:
        """Measure when the tab is opened, unless a model would have to be loaded first."""
        model, probes = self.chosen_model(*values), self.shared.probes
        ready = model == self.shared.settings.default_model or probes.is_ready(model)
        if not ready or probes.known(model) is not None:
            yield *self.plan(*values), ""
            return
        yield from self.measure(*values)

    def _button(self, spec: SpecT) -> Any:
        model = self.model(spec)
        again = self.shared.probes.known(model) is not None
        return gr.Button(MEASURE_AGAIN if again else MEASURE, visible=not model.startswith(REMOTE))


class MeasuredForm(Protocol):
    """A form whose plan is estimated from what the machine was measured to do."""

    @property
    def fields(self) -> list[Component]:
        """What a spec is read from."""

    @property
    def plan(self) -> gr.HTML:
        """Says what a run would do and how long it would take."""

    @property
    def measure(self) -> gr.Button:
        """Measures the machine again."""

    @property
    def measuring(self) -> gr.HTML:
        """Says that the machine is being measured."""


def wire_measuring(
    starter: MeasuredStarter[Any], tab: gr.Tab, form: MeasuredForm, own: gr.BrowserState
) -> None:
    """Measure the machine at a click, and when the tab is opened for the first time.

    Args:
        starter: the listeners.
        tab: where they are.
        form: what is read, and where the plan is shown.
        own: the visitor's own personas.
    """
    for event, listener in (
        (form.measure.click, starter.measure),
        (tab.select, starter.measure_if_ready),
    ):
        event(
            listener,
            [own, *form.fields],
            [form.plan, form.measure, form.measuring],
            show_progress="hidden",
            api_visibility="private",
            **USES_MODEL,
        )
