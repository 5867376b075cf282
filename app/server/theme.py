"""The look of the app: a Gradio theme of its own, a style sheet and a small script.

Fonts are those of the visitor's system: nothing is fetched from elsewhere, so the page works
without a network and tells nobody that it was opened. The theme sets the variables that Gradio's
own components use; `assets/theme.css` styles what PRISM Studio draws itself, with the same
variables in light and dark.
"""

from __future__ import annotations

from gradio.themes.base import Base
from gradio.themes.utils import colors, sizes

from prism_core.utils.assets import ASSETS

STYLES = ("theme.css", "train.css", "explore.css")
"""The style sheets in `assets`, in their order."""

_SANS = (
    *("-apple-system", "BlinkMacSystemFont", "Segoe UI", "Roboto", "Helvetica Neue", "Noto Sans"),
    *("Liberation Sans", "Arial", "sans-serif"),
)
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Liberation Mono", "monospace")

_INK = colors.Color(
    *("#f8f8f6", "#f1f1ee", "#e5e5e0", "#d3d3cd", "#9c9da3", "#6b6d76"),
    *("#565862", "#34363f", "#22242c", "#181a20", "#101116"),
    name="ink",
)
_IRIS = colors.Color(
    *("#f3f2fe", "#e8e6fd", "#d3cffb", "#b5aef7", "#9389f0", "#7264e6"),
    *("#5b4bd6", "#4a3cb4", "#3b318c", "#2c2666", "#1d1945"),
    name="iris",
)

_LOOK: dict[str, str | tuple[str, str]] = {
    # Surfaces
    "body_background_fill": ("*neutral_50", "*neutral_950"),
    "body_text_color": ("*neutral_900", "#ecedf1"),
    "body_text_color_subdued": ("*neutral_500", "#a3a6b2"),
    "background_fill_primary": ("#ffffff", "*neutral_900"),
    "background_fill_secondary": ("*neutral_50", "*neutral_950"),
    "border_color_primary": ("*neutral_200", "#2d3039"),
    "border_color_accent": ("*primary_300", "*primary_700"),
    "color_accent_soft": ("*primary_50", "#25223f"),
    "block_background_fill": ("transparent", "transparent"),
    "block_border_width": ("0px", "0px"),
    "block_padding": "0px",
    "block_shadow": ("none", "none"),
    "block_label_background_fill": ("transparent", "transparent"),
    "block_title_text_color": ("*neutral_600", "#b6b9c4"),
    "block_title_text_weight": "600",
    "block_title_text_size": "13px",
    "block_info_text_color": ("*neutral_500", "#a3a6b2"),
    "block_info_text_size": "13px",
    "panel_background_fill": ("transparent", "transparent"),
    "panel_border_width": "0px",
    "table_border_color": ("*neutral_200", "#2d3039"),
    "table_even_background_fill": ("transparent", "transparent"),
    "table_odd_background_fill": ("transparent", "transparent"),
    "link_text_color": ("*primary_700", "*primary_300"),
    # Controls
    "input_background_fill": ("#ffffff", "#14161b"),
    "input_border_color": ("*neutral_300", "#3a3d48"),
    "input_border_color_focus": ("*primary_500", "*primary_400"),
    "input_border_width": "1px",
    "input_radius": "10px",
    "input_shadow": "none",
    "input_shadow_focus": (
        "0 0 0 3px color-mix(in srgb, #7264e6 22%, transparent)",
        "0 0 0 3px color-mix(in srgb, #9389f0 28%, transparent)",
    ),
    "input_padding": "10px 12px",
    "input_placeholder_color": ("#767880", "#8b8e9a"),
    "checkbox_background_color": ("#ffffff", "#14161b"),
    "checkbox_background_color_selected": ("*primary_600", "*primary_500"),
    "checkbox_border_color": ("*neutral_400", "#5a5d69"),
    "checkbox_label_background_fill": ("#ffffff", "#14161b"),
    "checkbox_label_background_fill_hover": ("*neutral_100", "#20222a"),
    "checkbox_label_background_fill_selected": ("*primary_50", "#25223f"),
    "checkbox_label_text_color_selected": ("*primary_800", "*primary_200"),
    "checkbox_label_border_color": ("*neutral_300", "#3a3d48"),
    "checkbox_label_border_color_selected": ("*primary_400", "*primary_500"),
    "checkbox_label_padding": "8px 12px",
    "checkbox_label_text_size": "14px",
    "checkbox_label_shadow": "none",
    "slider_color": ("*primary_600", "*primary_400"),
    "error_background_fill": ("#fdf2f0", "#2b1917"),
    "error_text_color": ("#96271b", "#ffb4a8"),
    # Buttons
    "button_large_radius": "10px",
    "button_medium_radius": "10px",
    "button_small_radius": "999px",
    "button_large_padding": "10px 20px",
    "button_medium_padding": "9px 16px",
    "button_small_padding": "6px 12px",
    "button_large_text_size": "15px",
    "button_medium_text_size": "14px",
    "button_small_text_size": "13px",
    "button_large_text_weight": "600",
    "button_medium_text_weight": "600",
    "button_small_text_weight": "500",
    "button_border_width": "1px",
    "button_primary_background_fill": ("*primary_600", "*primary_600"),
    "button_primary_background_fill_hover": ("*primary_700", "*primary_700"),
    "button_primary_border_color": ("*primary_600", "*primary_600"),
    "button_primary_text_color": "#ffffff",
    "button_secondary_background_fill": ("#ffffff", "*neutral_900"),
    "button_secondary_background_fill_hover": ("*neutral_100", "*neutral_800"),
    "button_secondary_border_color": ("*neutral_300", "#3a3d48"),
    "button_secondary_text_color": ("*neutral_800", "#e4e5ea"),
    "button_cancel_background_fill": ("#ffffff", "*neutral_900"),
    "button_cancel_border_color": ("#d9897d", "#8c4a40"),
    "button_cancel_text_color": ("#96271b", "#ffb4a8"),
}
"""Gradio's variables: one value for both appearances, or the light and the dark one."""


def theme() -> Base:
    """Return the Gradio theme, light and dark."""
    base = Base(
        primary_hue=_IRIS,
        secondary_hue=_IRIS,
        neutral_hue=_INK,
        radius_size=sizes.radius_md,
        spacing_size=sizes.spacing_md,
        text_size=sizes.text_md,
        font=_SANS,
        font_mono=_MONO,
    )
    base.name = "prism"
    values: dict[str, str] = {}
    for name, value in _LOOK.items():
        if isinstance(value, str):
            values[name] = value
        else:
            values[name], values[f"{name}_dark"] = value
    return base.set(**values)


def css() -> str:
    """Return the style sheet of what PRISM Studio draws itself."""
    return "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in STYLES)


def head() -> str:
    """Return what goes into the page's head: the script, inline, so that no request is needed."""
    script = (ASSETS / "app.js").read_text(encoding="utf-8")
    return (
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<script>{script}</script>"
    )
