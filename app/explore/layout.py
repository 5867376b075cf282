"""The Explore tab: a study's figures, filters over all of them, and the answers behind a point.

Each part keeps its components and its listeners together: `bar` chooses the study, `figures_panel`
draws, `points_panel` shows the answers behind a point.
"""

from __future__ import annotations

import gradio as gr

from app.common.shared import Shared
from app.explore.bar import StudyBarHandlers, build_bar, wire_bar
from app.explore.figures_panel import FigureHandlers, Gallery, build_figures, wire_figures
from app.explore.points_panel import PointHandlers, build_points, wire_points


def build(shared: Shared, tab: gr.Tab) -> None:
    """Lay the tab out and connect it."""
    bar = build_bar(shared.settings)
    figures = build_figures()
    points = build_points()
    bar_handlers = StudyBarHandlers(shared.studies, bar, figures.filters)
    figure_handlers = FigureHandlers(shared.studies, Gallery(), figures)
    wire_bar(bar_handlers, shared, tab)
    wire_figures(figure_handlers, bar_handlers, shared)
    wire_points(PointHandlers(figure_handlers, points), figures, bar)
