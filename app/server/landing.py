"""Which tab a link opens. The tab then reads the link itself, as it does when a visitor opens it.

Nothing else of a tab is asked for before somebody opens it: on one page there are many.
"""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from app.common.run_watch import find_run
from app.common.shared import QUIET, Shared, then_script
from app.services.study_shelf import StudyShelf
from app.services.visitor import new_visitor, read_visitor
from prism_core.errors import PrismError
from prism_core.storage import RunKind, Store

RUNS: tuple[tuple[str, RunKind, str], ...] = (("run", "train", "train"), ("rl", "rl", "rl"))
"""The address's parameter, the kind of run it names, and the tab that shows it."""


@dataclass(frozen=True)
class Landing:
    """Reads the page's address."""

    store: Store
    studies: StudyShelf

    def tab(self, request: gr.Request) -> str:
        """Return the id of the tab that the address asks for, empty for the first."""
        query = dict(request.query_params)
        for key, kind, tab in RUNS:
            if query.get(key) and find_run(self.store, kind, str(query[key]), None):
                return tab
        return self._study_tab(str(query.get("study", ""))[:80])

    def _study_tab(self, study_id: str) -> str:
        """Watch a study while it runs, and explore it afterwards."""
        if not study_id:
            return ""
        try:
            return "explore" if self.studies.open(study_id, fresh=True).study.finished else "study"
        except PrismError:
            return "explore"  # which says what is wrong


def _known(stored: object) -> object:
    """Make a visitor's opaque id at the first visit."""
    return gr.skip() if read_visitor(stored) else new_visitor()


def wire_landing(shared: Shared) -> None:
    """Make the visitor known, then open the tab of the link as the visitor would: with a click."""
    landing = Landing(shared.store, shared.studies)
    place = gr.Textbox(visible="hidden", show_label=False, elem_id="px-landing")
    visitor = shared.visitor_state
    known = shared.page.load(_known, visitor, visitor, **QUIET)
    landed = known.then(landing.tab, None, place, **QUIET)
    then_script(landed, "(tab) => window.prism.openTab(tab)", place)
