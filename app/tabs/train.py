"""The Train tab."""

from __future__ import annotations

import gradio as gr

from app.shared import Shared


def build(shared: Shared, tab: gr.Tab) -> None:
    """Lay the tab out and connect it."""
