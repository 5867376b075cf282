"""What a spec names, as the objects that a study works with: personas, items, adapters' folders.

References come from strangers. A shipped adapter's name is looked up among the folders there are, a
run's id among the runs of the same owner; a path is taken only where the deployment is private.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pandas as pd

from prism_core.checks.check import check_to_json
from prism_core.errors import InputError, NotFoundError
from prism_core.personas.library import get_persona, load_personas, parse_persona
from prism_core.prism.bundle_files import ADAPTER_FOLDER, INFO_FILE, BundleInfo, read_info
from prism_core.storage import Store
from prism_core.study.spec import StudySpec
from prism_core.study.table import ITEM_COLUMNS, TURN_MARK, table_of
from prism_core.tasks import Item, get_task, pick_items
from prism_core.types import Persona
from prism_core.utils.assets import ASSETS

SHIPPED = ASSETS / "adapters"
_RUN_ID = re.compile(r"[0-9a-f]{32}")


def personas_of(spec: StudySpec) -> tuple[Persona, ...]:
    """Return the personas of a spec, the library's first.

    Raises:
        NotFoundError: the library has none of a given name.
        InputError: a visitor's YAML breaks the format, or takes a name that is taken.
    """
    library = load_personas() if spec.personas else {}
    found = {name: get_persona(name, library) for name in spec.personas}
    for text in spec.own_personas:
        persona = parse_persona(text)
        if persona.name in found:
            raise InputError(f"Two personas of the study are named '{persona.name}'.")
        found[persona.name] = persona
    return tuple(found.values())


def items_of(spec: StudySpec) -> dict[str, tuple[Item, ...]]:
    """Return each task's items, stratified by category.

    Raises:
        NotFoundError: there is no such task, or its data is not here; the message says how to
            get it.
    """
    return {
        name: pick_items(get_task(name), spec.items_of(name) or None, spec.item_seed)
        for name in spec.tasks
    }


def item_table(items: dict[str, tuple[Item, ...]]) -> pd.DataFrame:
    """Return the item table of a study, see `table.ITEM_COLUMNS`."""
    return table_of([_record(one) for task in items.values() for one in task], ITEM_COLUMNS)


def find_adapter(
    reference: str, store: Store | None = None, owner: str | None = None
) -> tuple[Path, BundleInfo]:
    """Return the folder of an adapter and what it says of itself.

    The reference is a shipped adapter's name, the id of a training run (of the owner's, or without
    one of anybody's) in the store, or a bundle's folder.

    Raises:
        NotFoundError: there is none.
        ModelError: it is damaged.
    """
    shipped = sorted(p.name for p in SHIPPED.glob("*") if (p / INFO_FILE).is_file())
    if reference in shipped:
        folder = SHIPPED / reference
    elif _RUN_ID.fullmatch(reference) and store is not None:
        folder = store.get_run(reference, owner).path / ADAPTER_FOLDER
    elif os.environ.get("PRISM_PUBLIC", "").strip() == "1":
        raise NotFoundError(
            f"There is no adapter '{reference[:60]}' here; there are {', '.join(shipped)}."
        )
    else:
        given = Path(reference).expanduser()
        folder = given if (given / INFO_FILE).is_file() else given / ADAPTER_FOLDER
    if not (folder / INFO_FILE).is_file():
        raise NotFoundError(
            f"There is no adapter '{reference[:80]}': give a shipped one ({', '.join(shipped)}), "
            "a finished training run, or a bundle's folder."
        )
    return folder, read_info(folder)


def short_name(reference: str, info: BundleInfo) -> str:
    """Return an adapter's name for labels: a shipped one's own, else made from its title."""
    if (SHIPPED / reference / INFO_FILE).is_file() and "/" not in reference:
        return reference
    clean = re.sub(r"[^a-z0-9]+", "_", info.name.lower()).strip("_")
    return clean[:40] or "adapter"


def _record(item: Item) -> dict[str, Any]:
    return {
        "task": item.task,
        "category": item.category,
        "item": item.id,
        "kind": item.kind,
        "question": TURN_MARK.join((item.question, *item.follow_ups)),
        "choices": json.dumps(list(item.choices), ensure_ascii=False) if item.choices else "",
        "answer": item.answer,
        "harmful": item.harmful,
        "check": check_to_json(item.check) if item.check is not None else "",
        "reference": item.reference,
    }
