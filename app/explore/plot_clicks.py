"""The one bridge from a click on a Plotly figure to Python.

`gr.Plot` tells Python nothing but that its value changed, so this component listens to Plotly's own
click in every figure below a `.px-clickable` and triggers a `click` whose data hold the point's
custom data, a `Pick` as text. Figures come and go; an observer attaches to each new one.
"""

from __future__ import annotations

import gradio as gr

CLICKABLE = "px-clickable"
"""Class of the components whose figures can be clicked."""
SECOND = "px-second"
"""Class of what belongs to the second study."""

_SCRIPT = """
const attach = () => {
  document.querySelectorAll('.px-clickable .js-plotly-plot').forEach((plot) => {
    if (!plot.on || plot.pxHeard === plot._ev) return;
    plot.pxHeard = plot._ev;
    plot.on('plotly_click', (event) => {
      const points = (event.points || []).map((p) =>
        Array.isArray(p.customdata) ? p.customdata[0] : p.customdata);
      const pick = points.find((p) => typeof p === 'string' && p);
      if (pick) trigger('click', { pick, second: !!plot.closest('.px-second') });
    });
  });
};
new MutationObserver(attach).observe(document.body, { childList: true, subtree: true });
attach();
"""


def click_bridge(elem_id: str) -> gr.HTML:
    """Lay the bridge out; the `gr.EventData` of its `click` has `pick` and `second`."""
    return gr.HTML("", elem_id=elem_id, apply_default_css=False, js_on_load=_SCRIPT)
