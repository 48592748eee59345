"""What a folder of objects holds, in words. Nothing here imports torch.

A folder of GLB files may have a `catalogue.jsonl`: a JSON object a line with `file`, `noun`, and, if wanted,
`synonyms`, `phrases`, `has_front`, `group` and `pattern`. Without one, each object is named by its file:
`0003-iron-bed.glb` and `IronBed2.glb` are iron beds.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.errors import UserError
from backend.prior.synonyms import PATTERN_WORDS

FILE = "catalogue.jsonl"

SOLIDS = "solids"
"""The group of the procedural ones, see `solids`."""


@dataclass(frozen=True)
class Entry:
    """An object in words.

    noun: what one would type for it. synonyms: other words, more general ones among them. phrases: descriptions of
    what is seen. has_front: whether a person could say which side is the front. pattern: the word for what its main
    colour is broken by, as in "a striped hat", or None. group: where to list it, such as "furniture".
    """

    file: str
    noun: str
    synonyms: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    has_front: bool = False
    pattern: str | None = None
    group: str = "objects"

    @property
    def names(self) -> tuple[str, ...]:
        """All that it may be called, the usual word first."""
        return self.noun, *self.synonyms


def read(folder: Path) -> tuple[Entry, ...]:
    """The objects of `folder`, in the order of their files. Raises UserError if there are none or a line is wrong."""
    catalogue = folder / FILE
    if catalogue.is_file():
        entries = _listed(catalogue)
    else:
        entries = [Entry(path.name, named(path.stem)) for path in folder.iterdir() if path.suffix.lower() == ".glb"]
    if not entries:
        raise UserError(f"{folder} holds no objects; put GLB files into it")
    return tuple(sorted(entries, key=lambda entry: entry.file))


def named(stem: str) -> str:
    """The noun in a file's name: words without numbers before or after them, in lower case."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[^\W\d_]{3})(?=\d+$)", " ", stem)
    return " ".join(word for word in re.split(r"[\W_]+", apart) if word and not word.isdigit()).lower() or stem.lower()


def entry_of(fields: Any) -> Entry:
    """An entry out of JSON. Raises KeyError, TypeError or ValueError if it is none."""
    if not isinstance(fields, dict):
        raise TypeError("it is no JSON object")
    file, noun = fields["file"], fields["noun"]
    synonyms, phrases = fields.get("synonyms", []), fields.get("phrases", [])
    has_front, pattern = fields.get("has_front", False), fields.get("pattern")
    if not (isinstance(synonyms, list) and isinstance(phrases, list)):  # a text would pass as its letters
        raise TypeError("synonyms and phrases are lists")
    group = fields.get("group", Entry.group)
    if not all(isinstance(word, str) and word.strip() for word in (file, noun, *synonyms, *phrases, group)):
        raise TypeError("it holds something other than words")
    if not isinstance(has_front, bool):
        raise TypeError("has_front is true or false")
    if pattern not in (None, *PATTERN_WORDS):
        raise ValueError(f"pattern is one of {', '.join(PATTERN_WORDS)}")
    return Entry(file, noun, tuple(synonyms), tuple(phrases), has_front, pattern, group)


def _listed(catalogue: Path) -> list[Entry]:
    found: dict[str, Entry] = {}
    try:
        lines = catalogue.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{catalogue} is no UTF-8 text ({error}); save it as UTF-8") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{catalogue}, line {number}"
        entry = _entry(line, where)
        if entry.file in found:
            raise UserError(f"{where} names {entry.file} a second time; remove one of the lines")
        if Path(entry.file).name != entry.file:
            raise UserError(f"{where} names {entry.file}, a path; put the file beside the catalogue")
        if not (catalogue.parent / entry.file).is_file():
            raise UserError(f"{where} names {entry.file}, which is not there; add the file or remove the line")
        found[entry.file] = entry
    return list(found.values())


def _entry(line: str, where: str) -> Entry:
    try:
        return entry_of(json.loads(line))
    except KeyError as error:
        raise UserError(f"{where} lacks {error}; see the other lines") from error
    except (ValueError, TypeError) as error:
        raise UserError(f"{where} does not describe an object ({error}); see the other lines") from error
