"""The page: a header and the tabs. No logic."""

from __future__ import annotations

import gradio as gr

from app.common.shared import HISTORY_KEY, PERSONAS_KEY, Shared, fragment
from app.compare import layout as compare
from app.explore import layout as explore
from app.personas import layout as personas
from app.rl import layout as rl
from app.server.api import add_api
from app.server.border import Page
from app.server.landing import wire_landing
from app.services.adapter_shelf import AdapterShelf
from app.services.jobs import Jobs
from app.services.model_pool import ModelPool
from app.services.quotas import QUEUE
from app.services.settings import Settings, browser_secret
from app.services.speed_probes import ProbeBook
from app.services.study_shelf import StudyImports, StudyShelf
from app.services.visitor import VISITOR_KEY
from app.study import layout as study
from app.train import layout as train
from prism_core.storage import Store

TABS = (
    ("Compare", compare),
    ("Train", train),
    ("Study", study),
    ("Explore", explore),
    ("RL", rl),
    ("Personas", personas),
)
HEADER = """
<header class="px-header">
  <div class="px-brand">
    <svg viewBox="0 0 40 32" width="40" height="32" aria-hidden="true">
      <path d="M1 19 L15 15" class="px-ray"/>
      <path d="M20 3 L35 28 H5 Z" class="px-glass"/>
      <path d="M25 14 L39 11" stroke="#7264e6"/><path d="M26 16.5 L39 17" stroke="#12867d"/>
      <path d="M27 19 L39 23" stroke="#c2780c"/>
    </svg>
    <div><h1>PRISM Studio</h1>
    <p>Ask one question and watch a language model answer it plainly and in character,
    side by side.</p></div>
  </div>
  <button id="px-appearance" type="button" aria-pressed="false"
    aria-label="Dark appearance" title="Light or dark">
    <svg viewBox="0 0 20 20" width="18" height="18" aria-hidden="true">
      <circle cx="10" cy="10" r="7.25" fill="none" stroke="currentColor" stroke-width="1.5"/>
      <path d="M10 2.75 a7.25 7.25 0 0 1 0 14.5 Z" fill="currentColor"/></svg>
  </button>
</header>
"""


def build_page(
    settings: Settings,
    pool: ModelPool,
    store: Store,
    jobs: Jobs,
    imports: StudyImports,
    queue: int = QUEUE,
) -> gr.Blocks:
    """Build the whole page, not launched yet; at most `queue` requests may wait.

    Raises:
        StorageError: the secret of the browser storage cannot be kept.
    """
    secret = browser_secret(settings)
    with Page(title="PRISM Studio", analytics_enabled=False, delete_cache=(3_600, 3_600)) as page:
        personas_state = gr.BrowserState([], storage_key=PERSONAS_KEY, secret=secret)
        history_state = gr.BrowserState([], storage_key=HISTORY_KEY, secret=secret)
        visitor_state = gr.BrowserState("", storage_key=VISITOR_KEY, secret=secret)
        shelf = AdapterShelf(store)
        add_api(settings, pool, shelf)  # first, so that no listener takes one of its names
        tried = gr.Textbox(visible="hidden", show_label=False, elem_id="px-tried")
        explored = gr.Textbox(visible="hidden", show_label=False, elem_id="px-explored")
        fragment(HEADER)
        with gr.Tabs(elem_id="px-tabs", overflow_behavior="wrap") as tabs:
            shared = Shared(
                page=page,
                settings=settings,
                pool=pool,
                probes=ProbeBook(pool),
                personas_state=personas_state,
                history_state=history_state,
                visitor_state=visitor_state,
                store=store,
                jobs=jobs,
                shelf=shelf,
                studies=StudyShelf(store, imports),
                tried=tried,
                explored=explored,
                tabs=tabs,
            )
            for title, room in TABS:
                with gr.Tab(title, id=title.lower()) as tab:
                    room.build(shared, tab)
        if settings.disk_note:
            fragment(f'<p class="px-help">{settings.disk_note}</p>', elem_id="px-disk")
        wire_landing(shared)
    # Closed: what waits for a model cannot be asked for beside the queue.
    page.queue(max_size=queue, default_concurrency_limit=1, api_open=False)
    return page
