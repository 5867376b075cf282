"""lm-evaluation-harness with PRISM among its models: `python -m prism_core.lm_eval ...`.

The harness keeps a fixed list of models and looks for no plug-ins, so this adds `prism` to its list
and hands all arguments over to its own command line. Everything that works with `lm_eval` works
here: `python -m prism_core.lm_eval run --model prism --model_args pretrained=embedded,adapter=demo
--tasks arc_easy --apply_chat_template --system_instruction "You are a teacher."`
"""

from __future__ import annotations

import sys

NAME = "prism"
CLASS = "prism_core.lm_eval.model:PrismLM"


def register() -> None:
    """Add `prism` to the harness's models; a second time changes nothing.

    Raises:
        ImportError: lm-evaluation-harness is not installed.
    """
    from lm_eval.api.registry import model_registry

    if NAME not in model_registry:
        model_registry.register(NAME, target=CLASS)


def main() -> int:
    """Run the harness's command line."""
    try:
        register()
    except ImportError:
        print(
            "lm-evaluation-harness is not installed. Install it with: pip install lm_eval==0.4.13",
            file=sys.stderr,
        )
        return 2
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
    return 0


if __name__ == "__main__":
    sys.exit(main())
