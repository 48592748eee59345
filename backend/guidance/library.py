"""The models of this machine: the built-in one, and those that were added.

One JSON record per added model under <home>/models; downloaded files lie beside their record, and a
folder that was added stays where it is. <home> is $DREAMTIME_HOME, or the user's data folder.
"""

import hashlib
import json
import logging
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from itertools import chain, count
from pathlib import Path
from urllib.parse import quote

from backend import home
from backend.errors import UserError
from backend.files import sha256
from backend.guidance import folders, foreign, mvdream, single_file
from shared.limits import NAME_CHARACTERS

logger = logging.getLogger(__name__)

BUILTIN = "builtin"

_BUILTIN_FOLDER = Path(__file__).parent.parent / "prior" / "weights" / "64"
_BUILTIN_LICENCE = "GPL-3.0-or-later"
_SPARE_BYTES = 1_000_000_000
_FILE_NAME_CHARACTERS = 200  # file systems take 255, and there are endings


@dataclass(frozen=True)
class ModelSource:
    """A model with all that makes its use repeatable.

    name: what `--guidance` takes. origin: a hub id, a folder, or "built in". revision: the hub's commit, or
    "sha256:" and the digest of the files. licence: as its author states it, or "unknown". size: bytes.
    added: the date, or "" if it never was.
    """

    name: str
    origin: str
    folder: Path
    revision: str
    licence: str
    size: int
    added: str = ""

    @property
    def downloaded(self) -> bool:
        """Whether the files are the library's own, to be deleted with the record."""
        return self.folder.parent == models_folder() and self.origin != str(self.folder)


def models_folder() -> Path:
    """Where records and downloads are kept. It need not exist."""
    return home.data_folder() / "models"


def listed() -> list[ModelSource]:
    """The built-in model, then the added ones by name."""
    return [builtin(), *sorted(_records().values(), key=lambda model: model.name)]


def usable() -> list[ModelSource]:
    """Those of `listed` whose record and folder are sound, named in the log if not. Reads no added model's weights."""
    found = []
    for path in _record_paths():
        try:
            model = _read(path)
            folders.check(model.folder)
        except UserError as error:
            logger.warning("a model cannot be used: %s", error)
        else:
            found.append(model)
    return [builtin(), *sorted(found, key=lambda model: model.name)]


def fingerprint() -> tuple[tuple[str, int], ...]:
    """Another one after each change of the records: their names and times. A fraction of what `listed` takes."""
    found = []
    for path in _record_paths():
        with suppress(FileNotFoundError):  # it was removed just now
            found.append((path.name, path.stat().st_mtime_ns))
    return tuple(found)


def builtin() -> ModelSource:
    """The model that comes with the program."""
    return replace(of_folder(_BUILTIN_FOLDER), name=BUILTIN, origin="built in", licence=_BUILTIN_LICENCE)


def of_folder(folder: Path) -> ModelSource:
    """The model in a folder, added or not. Raises UserError if it is none that guidance understands."""
    folder = home.expanded(folder).resolve()
    folders.check(folder)
    return _described(folder, folders.files(folder))


def offered(path: Path) -> ModelSource:
    """What `add` would bring. Raises UserError if that is nothing that guidance understands."""
    path = home.expanded(path).resolve()
    if path.is_file():
        single_file.kind_of(path)
        return _described(path, [path])
    return _described(path, folders.files(path)) if mvdream.has_published_unet(path) else of_folder(path)


def _described(path: Path, files: list[Path]) -> ModelSource:
    size = sum(file.stat().st_size for file in files)
    return ModelSource(_name_of(path), str(path), path, _digest(path, files), "unknown", size)


def _name_of(folder: Path) -> str:
    """Its own name, or the id of the model whose snapshot in the cache it is: models--owner--name/snapshots/COMMIT."""
    repository = folder.parent.parent.name
    if folder.parent.name == "snapshots" and repository.startswith("models--"):
        return repository.removeprefix("models--").replace("--", "/", 1)
    return folder.stem if folder.is_file() else folder.name


def resolve(wanted: str) -> ModelSource:
    """The model that `wanted` names: "builtin", an added name or hub id, or a folder.

    Raises UserError for an unknown one, with the nearest names, and for one whose files are gone or changed.
    """
    if wanted == BUILTIN:
        return builtin()
    record = _records().get(wanted)
    if record is not None:
        return _intact(record)
    if home.expanded(wanted).exists():
        return of_folder(Path(wanted))
    names = [model.name for model in listed()]
    nearest = get_close_matches(wanted, names, n=3, cutoff=0.4) or names[:3]
    raise UserError(
        f'no model "{wanted}" on this machine; nearest: {", ".join(nearest)} '
        "(dreamtime models add takes a hub id or a folder)"
    )


def _intact(record: ModelSource) -> ModelSource:
    again = f"dreamtime models remove {record.name}, then add it again"
    if not record.folder.is_dir():
        raise UserError(f"the files of {record.name} are gone from {record.folder}; {again}")
    if record.revision.startswith("sha256:") and record.revision != of_folder(record.folder).revision:
        raise UserError(f"the files of {record.name} have changed since it was added; {again}")
    return record


def check_new(name: str) -> None:
    """Raise UserError unless a model can get this name."""
    if not 1 <= len(name) <= NAME_CHARACTERS or not name.isprintable() or len(slug(name)) > _FILE_NAME_CHARACTERS:
        raise UserError(f"{name[:NAME_CHARACTERS]!a} is too long or no name; give the model another with --name")
    if name == BUILTIN or name in _records():
        raise UserError(
            f'there is a model "{name}" already; give this one another with --name, or make room by '
            f"dreamtime models remove {name}"
        )


def add(path: Path, name: str = "") -> ModelSource:
    """Add the model in a folder under `name`, or its own, numbered if another folder's has it. Raises UserError.

    A checkpoint in one file gets a folder of the library's own, with a link to it; MVDream as it is published, which
    may be a file, too, is converted into one.
    """
    path = home.expanded(path).resolve()
    for known in _records().values():
        if str(path) in (known.origin, str(known.folder)):
            raise UserError(f'{path} was added already, as "{known.name}"')
    found = offered(path)
    found = replace(found, name=name or _unused(found.name))
    if foreign.is_foreign(path):
        check_new(found.name)
        check_room(found.name, 0 if foreign.stays(path) else found.size)
        found = replace(of_folder(settled(path, found.name)), name=found.name, origin=found.origin)
    return record(found)


def check_room(name: str, size: int) -> None:
    """Raise UserError unless `size` bytes of the model `name` can be written into the library, and more besides."""
    folder = models_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise UserError(
            f"cannot write to {folder} ({error.strerror}); set {home.VARIABLE} to a folder you own"
        ) from error
    if free < size + _SPARE_BYTES:
        raise UserError(
            f"{name} needs {size / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB free; "
            f"make room, or set {home.VARIABLE} to a folder on another disk"
        )


def settled(source: Path, name: str) -> Path:
    """The library's own folder for the model `name`: what is in `source`, converted if need be, or moved there whole.

    Raises UserError for what guidance does not understand; then `source` is as it was.
    """
    final = models_folder() / slug(name)
    if foreign.is_foreign(source):
        source = foreign.converted(source, final.with_name(final.name + ".converted"))
    else:
        folders.check(source)
    shutil.rmtree(final, ignore_errors=True)
    source.rename(final)
    return final


def _unused(name: str) -> str:
    """`name`, or the first number behind it that makes a name which no model has."""
    taken = {model.name for model in listed()}
    return next(each for each in chain([name], (f"{name}-{number}" for number in count(2))) if each not in taken)


def record(model: ModelSource) -> ModelSource:
    """Add `model` to the library, dated today. Raises UserError if it cannot get its name or nothing can be written."""
    check_new(model.name)
    model = replace(model, added=datetime.now(UTC).date().isoformat())
    path = record_path(model.name)
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps({**asdict(model), "folder": str(model.folder)}, indent=2) + "\n", "utf-8")
        partial.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path} ({error.strerror}); set {home.VARIABLE} to a folder you own") from error
    return model


def remove(name: str) -> ModelSource:
    """Forget a model, and delete its files if they were downloaded. Raises UserError if there is none of that name."""
    if name == BUILTIN:
        raise UserError("the built-in model is part of the program and stays")
    found = _records().get(name)
    if found is None:
        added = ", ".join(sorted(_records())) or "none was added"
        raise UserError(f'no added model is called "{name}"; there are: {added}')
    record_path(name).unlink()
    if found.downloaded:
        shutil.rmtree(found.folder, ignore_errors=True)
    return found


def record_path(name: str) -> Path:
    """Where the record of a model lies, or will."""
    return models_folder() / f"{slug(name)}.json"


def slug(name: str) -> str:
    """A file name for a model, with the slash of a hub id escaped. Two names never share one."""
    return quote(name, safe=" ")


def _record_paths() -> list[Path]:
    return sorted(models_folder().glob("*.json"))


def _records() -> dict[str, ModelSource]:
    """Added models by name."""
    return {model.name: model for model in map(_read, _record_paths())}


def _read(path: Path) -> ModelSource:
    """The model that a record tells of. Raises UserError for a damaged one."""
    try:
        content = json.loads(path.read_text("utf-8"))
        model = ModelSource(**{**content, "folder": Path(content["folder"])})
        texts = (model.name, model.origin, model.revision, model.licence, model.added)
        if not (all(isinstance(text, str) for text in texts) and isinstance(model.size, int)):
            raise TypeError("a value is of the wrong kind")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"the record {path} is damaged ({error}); delete it and add the model again") from error
    return model


def _digest(folder: Path, files: list[Path]) -> str:
    """ "sha256:" and a digest over the names and contents of `files`."""
    whole = hashlib.sha256()
    for path in files:
        whole.update(f"{path.relative_to(folder).as_posix()} {sha256(path)}\n".encode())
    return f"sha256:{whole.hexdigest()}"
