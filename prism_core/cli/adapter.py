"""What commands with a trained adapter share: finding its folder, opening it on its base."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prism_core.cli.output import open_model
from prism_core.errors import InputError
from prism_core.models.sources import is_remote

if TYPE_CHECKING:
    from prism_core.models.generator import Generator
    from prism_core.models.local import LocalModel
    from prism_core.prism.bundle_files import BundleInfo


def find_bundle(text: str) -> tuple[Path, BundleInfo]:
    """Find the bundle in a folder that a person named, before any model is loaded.

    Raises:
        NotFoundError: there is none.
        ModelError: what it says of itself cannot be read.
    """
    from prism_core.prism.bundle_files import read_info
    from prism_core.prism.past_run import bundle_folder

    bundle = bundle_folder(Path(text).expanduser())
    return bundle, read_info(bundle)


def open_base(info: BundleInfo, reference: str | None) -> LocalModel:
    """Open the base model of a bundle: as a person named it, else as the bundle does.

    Raises:
        InputError: it is a remote model, or the bundle's own name for it finds nothing here.
        ModelError: the bundle was trained for another model.
    """
    from prism_core.prism.bundle import check_base

    wanted = reference or info.base.reference
    if is_remote(wanted):
        raise InputError(f"An adapter needs a model on this machine; '{wanted[:80]}' is not.")
    model = local_model(open_model(wanted))
    check_base(info, model)
    return model


def local_model(model: Generator) -> LocalModel:
    """Return the model if it can carry an adapter.

    Raises:
        InputError: it is remote.
    """
    from prism_core.models.local import LocalModel

    if not isinstance(model, LocalModel):
        raise InputError(f"An adapter needs a model on this machine; '{model.name}' is not.")
    return model


def open_ungated(reference: str, folder: str | None) -> Generator:
    """Open a model, with an adapter that is on for every prompt if one is given.

    Raises:
        PrismError: either cannot be loaded, or they do not fit.
    """
    from prism_core.prism.bundle import load_ungated

    if folder is None:
        return open_model(reference)
    bundle, info = find_bundle(folder)
    return load_ungated(bundle, open_base(info, reference))
