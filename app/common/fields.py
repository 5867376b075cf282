"""The fields of a form, kept by name as they are laid out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from app.services.settings import Settings


class Fields:
    """Lays fields out; each starts with the value that it has in a spec.

    The id of a field's element is a prefix and its name.
    """

    def __init__(self, prefix: str, start: object = None) -> None:
        self.by_name: dict[str, Any] = {}
        """The components that were laid out so far."""
        self._prefix, self._start = prefix, start

    def add(
        self, make: Callable[..., Any], name: str, label: str, elem_id: str = "", **options: Any
    ) -> None:
        """Lay a field out; `options` hold its `value` where the spec has none for it.

        An `elem_id` replaces the id that is made of prefix and name.
        """
        options.setdefault("value", getattr(self._start, name, None))
        elem_id = elem_id or f"{self._prefix}-{name.replace('_', '-')}"
        self.by_name[name] = make(label=label, elem_id=elem_id, **options)

    def model(self, settings: Settings) -> None:
        """Lay out the choice of a base model, of those that may be used here."""
        free = not settings.public
        self.add(
            gr.Dropdown,
            "model",
            "Base model",
            choices=list(settings.models),
            allow_custom_value=free,
            info="Or a Hub id like org/name, a folder, or a .gguf file." if free else None,
        )

    def many(self, name: str, label: str, choices: list[Any], info: str = "", **more: Any) -> None:
        """Lay out a list of which any number may be chosen."""
        options = {"choices": choices, "multiselect": True, "info": info or None, **more}
        self.add(gr.Dropdown, name, label, **options)

    def whole(self, name: str, label: str, info: str = "", **options: Any) -> None:
        """Lay a whole number out.

        It gets no limits: the component's own refusal names no field.
        """
        self.add(gr.Number, name, label, precision=0, info=info or None, **options)

    def real(self, name: str, label: str, step: float, **options: Any) -> None:
        """Lay a number out; see `whole`."""
        self.add(gr.Number, name, label, step=step, **options)
