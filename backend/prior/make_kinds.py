"""Make the table of kinds from WordNet 3.0: python -m backend.prior.make_kinds FOLDER.

FOLDER holds data.noun and index.noun as Princeton and Debian's wordnet-base ship them (man 5 wndb). The table lists
senses of nouns that name things one could see: a line each, with the words for it, a tab, and the lines (from 0) of the
kinds that it belongs to, which come before it. A word that more usually means something else is marked with a "~".
"""

import gzip
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import click

from backend.prior.kinds import TABLE

_TOPS, _PEOPLE, _CREATURES, _FOOD, _PLANTS = "03", "18", "05", "13", "20"
_VISIBLE = frozenset({_TOPS, _PEOPLE, _CREATURES, _FOOD, _PLANTS, "06", "08", "17", "21", "25"})
"""Numbers of WordNet's files; the last five: artefacts, bodies, natural objects, money, shapes."""

_SENSES = 4
"""Senses of a word that are kept, the usual ones: the eighth thing that is called a cat misleads."""

_COMMON = re.compile(r"[a-z][a-z'_-]*")


@dataclass(frozen=True)
class Sense:
    """A synset: the number of WordNet's file, its words as they are written, its hypernyms, and what explains it."""

    file: str
    words: tuple[str, ...]
    kinds: tuple[str, ...]
    gloss: str


def senses(data: str) -> dict[str, Sense]:
    """All senses in the text of data.noun, by their offsets."""
    found = {}
    for line in data.splitlines():
        if line.startswith(" "):
            continue
        record, _, gloss = line.partition(" | ")
        offset, file, _, count, *fields = record.split(" ")
        words = 2 * int(count, 16)
        pointers = fields[words + 1 :]
        kinds = [to for symbol, to in zip(pointers[::4], pointers[1::4], strict=False) if symbol == "@"]
        found[offset] = Sense(file, tuple(fields[:words:2]), tuple(kinds), gloss)
    return found


def meanings(index: str, known: dict[str, Sense]) -> dict[str, list[str]]:
    """For each word in the text of index.noun, the visible senses that it usually has; names of persons have none."""
    found = {}
    for line in index.splitlines():
        if line.startswith(" "):
            continue
        word, _, count, *fields = line.split()
        if _COMMON.fullmatch(word):
            offsets = [offset for offset in fields[-int(count) :] if word in known[offset].words]
            found[word] = _usual([offset for offset in offsets if known[offset].file in _VISIBLE], known)
    return found


def _usual(offsets: list[str], known: dict[str, Sense]) -> list[str]:
    """Senses that are kept. People are not who is called a wolf, nor who does what a thing is named after."""
    files = [known[offset].file for offset in offsets]
    if files and (files[0] != _PEOPLE or {_CREATURES, _FOOD, _PLANTS} & set(files)):
        offsets = [offset for offset in offsets if known[offset].file != _PEOPLE]
    return offsets[:_SENSES]


def table(data: str, index: str) -> str:
    """The table that `kinds` reads."""
    known = senses(data)
    meant = meanings(index, known)
    words: defaultdict[str, list[str]] = defaultdict(list)
    for word, offsets in meant.items():
        for mark, offset in zip(("", *"~" * _SENSES), offsets, strict=False):
            words[offset].append(mark + word.replace("_", " "))
    lines: list[str] = []
    place: dict[str, int] = {}

    def add(offset: str) -> int:
        if offset not in place:
            kinds = [add(kind) for kind in _kinds(known[offset], known, meant)]
            place[offset] = len(lines)
            lines.append(f"{','.join(words.get(offset, ()))}\t{','.join(map(str, kinds))}\n")
        return place[offset]

    for offset in sorted(words):
        add(offset)
    return "".join(lines)


def _kinds(sense: Sense, known: dict[str, Sense], meant: dict[str, list[str]]) -> Iterable[str]:
    """What a sense is a kind of.

    To WordNet a unicorn is an imagination, and a kitten is young, but no cat: their glosses say what they look like.
    """
    if not _elusive(sense, known):
        return sense.kinds
    files = {_CREATURES} if sense.file == _CREATURES else {_TOPS, _CREATURES, _PEOPLE}
    looks = [offset for word in re.findall(r"[a-z]+", sense.gloss) for offset in meant.get(word, ())[:1]]
    living = {offset: known[offset] for offset in looks if known[offset].file in files}
    return [offset for offset, look in living.items() if not (_vague(look) or _elusive(look, known))]


def _elusive(sense: Sense, known: dict[str, Sense]) -> bool:
    """Whether a sense is a kind of imaginary being or of young animal."""
    return any(_vague(known[kind]) or _elusive(known[kind], known) for kind in sense.kinds)


def _vague(sense: Sense) -> bool:
    return "imaginary_being" in sense.words or (sense.file == _CREATURES and "young" in sense.words)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
def main(folder: Path) -> None:
    """Write the table of kinds from the WordNet database in FOLDER."""
    try:
        made = table(*((folder / name).read_text(encoding="utf-8") for name in ("data.noun", "index.noun")))
    except FileNotFoundError as error:
        raise click.BadParameter(f"{error.filename} is missing; name the folder of WordNet's database") from error
    TABLE.write_bytes(gzip.compress(made.encode(), mtime=0))
    click.echo(f"wrote {TABLE}")


if __name__ == "__main__":
    main()
