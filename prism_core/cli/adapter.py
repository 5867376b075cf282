"""What commands with a trained adapter share: finding its folder, opening it on its base."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prism_core.cli.output import open_model
from prism_core.errors import InputError
from prism_core.models.sources import REMOTE

if TYPE_CHECKING:
    from prism_core.models.local import LocalModel
    from prism_core.prism.bundle import BundleInfo
    from prism_core.prism.gating.gated_model import GatedModel


def find_bundle(text: str) -> tuple[Path, BundleInfo]:
    """The bundle in a folder that a person named, before any model is loaded.

    Raises:
        NotFoundError: there is none.
        ModelError: what it says of itself cannot be read.
    """
    from prism_core.prism.bundle import read_info
    from prism_core.prism.past_run import bundle_folder

    bundle = bundle_folder(Path(text).expanduser())
    return bundle, read_info(bundle)


def open_base(info: BundleInfo, reference: str | None) -> LocalModel:
    """The base model of a bundle: as a person named it, else as the bundle does.

    Raises:
        InputError: it is a remote model, or the bundle's own name for it finds nothing here.
        ModelError: the bundle was trained for another model.
    """
    from prism_core.models.local import LocalModel
    from prism_core.prism.bundle import check_base

    wanted = reference or info.base.reference
    if wanted.startswith(REMOTE):
        raise InputError(f"An adapter needs a model on this machine; '{wanted[:80]}' is not.")
    model = open_model(wanted)
    if not isinstance(model, LocalModel):
        raise InputError(f"An adapter needs a model on this machine; '{model.name}' is not.")
    check_base(info, model)
    return model


def open_adapter(text: str, reference: str | None, threshold: float | None) -> GatedModel:
    """Base, gate and adapter of a folder.

    Raises:
        PrismError: the folder is no adapter, or does not fit its base model.
    """
    from prism_core.prism.bundle import load_bundle

    bundle, info = find_bundle(text)
    return load_bundle(bundle, open_base(info, reference), threshold)
