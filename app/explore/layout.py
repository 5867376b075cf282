"""The Explore tab: a study's figures, filters over all of them, and the answers behind a point."""

from __future__ import annotations

import gradio as gr

from app.common.shared import Shared
from app.explore.bar import StudyBarHandlers, build_bar, wire_bar
from app.explore.figures_panel import build_figures, wire_figures
from app.explore.points_panel import build_points, wire_points


def build(shared: Shared, tab: gr.Tab) -> None:
    """Lay the tab out and connect it."""
    bar = build_bar(shared)
    figures = build_figures()
    points = build_points()
    librarian = StudyBarHandlers(shared.studies)
    wire_bar(bar, shared, librarian, tab)
    painter = wire_figures(figures, bar, librarian, shared)
    wire_points(points, figures, bar, librarian, painter)
