"""Personas: the library, the pool that robustness is measured with, and the prompts they become."""

from prism_core.personas.library import get_persona, load_personas
from prism_core.personas.prompts import build_prompt

__all__ = ["build_prompt", "get_persona", "load_personas"]
