"""The outermost border of the page: whatever a listener raises, whoever called it reads a sentence.

Every listener can be called over HTTP with values of any type. What Gradio or a listener then
raises is for the log; Gradio would tell the caller `{"error": null}`.
"""

from __future__ import annotations

import logging
from typing import Any

import gradio as gr

from prism_core.errors import PrismError

_log = logging.getLogger(__name__)


class Page(gr.Blocks):
    """Gradio's page, whose calls end in a result or in a sentence."""

    async def process_api(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Answer a call; see `gradio.Blocks.process_api`.

        Raises:
            Error: there is no answer; the message says why.
        """
        try:
            return await super().process_api(*arguments, **options)
        except gr.Error:
            raise
        except PrismError as error:
            raise gr.Error(str(error), print_exception=False) from error
        except Exception as error:
            _log.exception("A call of the page failed")
            raise gr.Error(
                f"This could not be done ({type(error).__name__}): what was sent does not fit this "
                "call, or something went wrong that should not have. The log has the details.",
                print_exception=False,
            ) from error
