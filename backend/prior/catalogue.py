"""What a folder of objects holds, in words. Nothing here imports torch.

A folder of GLB files may have a `catalogue.jsonl`: a JSON object a line with `file`, `noun`, and, if wanted,
`synonyms`, `phrases` and `has_front`. Without one, each object is named by its file: `0003-iron-bed.glb` is an iron
bed.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.errors import UserError

FILE = "catalogue.jsonl"


@dataclass(frozen=True)
class Entry:
    """An object in words.

    noun: what one would type for it. synonyms: other words, more general ones among them. phrases: descriptions of
    what is seen. has_front: whether a person could say which side is the front. pattern: the word for what its main
    colour is broken by, as in "a striped hat", or None.
    """

    file: str
    noun: str
    synonyms: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    has_front: bool = False
    pattern: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All that it may be called, the usual word first."""
        return self.noun, *self.synonyms


def read(folder: Path) -> tuple[Entry, ...]:
    """The objects of `folder`, in the order of their files. Raises UserError if there are none or a line is wrong."""
    catalogue = folder / FILE
    if catalogue.is_file():
        lines = catalogue.read_text(encoding="utf-8").splitlines()
        entries = [_entry(line, f"{catalogue}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]
    else:
        entries = [Entry(path.name, named(path.stem)) for path in folder.glob("*.glb")]
    if not entries:
        raise UserError(f"{folder} holds no objects; put GLB files into it")
    missing = [entry.file for entry in entries if not (folder / entry.file).is_file()]
    if missing:
        raise UserError(f"{catalogue} names {missing[0]}, which is not there; add the file or remove the line")
    return tuple(sorted(entries, key=lambda entry: entry.file))


def named(stem: str) -> str:
    """The noun in a file's name: words without numbers around them, in lower case."""
    words = re.split(r"[\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", stem))
    return " ".join(word for word in words if word and not word.isdigit()).lower() or stem.lower()


def entry_of(fields: dict[str, Any]) -> Entry:
    """An entry out of JSON. Raises KeyError, TypeError or ValueError if it is none."""
    entry = Entry(
        file=fields["file"],
        noun=fields["noun"],
        synonyms=tuple(fields.get("synonyms", ())),
        phrases=tuple(fields.get("phrases", ())),
        has_front=fields.get("has_front", False),
        pattern=fields.get("pattern"),
    )
    words = (entry.file, *entry.names, *entry.phrases, entry.pattern or "none")
    if not all(isinstance(word, str) and word.strip() for word in words) or not isinstance(entry.has_front, bool):
        raise ValueError("it holds something other than words")
    return entry


def _entry(line: str, where: str) -> Entry:
    try:
        return entry_of(json.loads(line))
    except KeyError as error:
        raise UserError(f"{where} lacks {error}; see the other lines") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{where} does not describe an object ({error}); see the other lines") from error
