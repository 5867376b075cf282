"""Studies: spec -> plan -> cells -> run -> table -> file."""

from typing import TYPE_CHECKING

from prism_core.utils.lazy import lazy

if TYPE_CHECKING:
    from prism_core.study.file import load_study, save_study
    from prism_core.study.plan import plan_study
    from prism_core.study.run import run_study
    from prism_core.study.spec import StudySpec
    from prism_core.study.table import Study

__all__ = ["Study", "StudySpec", "load_study", "plan_study", "run_study", "save_study"]
__getattr__ = lazy(
    __name__,
    {
        "spec": "StudySpec",
        "plan": "plan_study",
        "run": "run_study",
        "table": "Study",
        "file": "load_study save_study",
    },
)
