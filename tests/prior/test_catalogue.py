import json
from dataclasses import asdict
from pathlib import Path

import pytest

from backend.errors import UserError
from backend.prior.catalogue import Entry, entry_of, named, read

GOOD = '{"file": "a.glb", "noun": "mug"}'


def folder_with(folder: Path, catalogue: str | bytes, *files: str) -> Path:
    for name in files:
        (folder / name).touch()
    text = catalogue.encode() if isinstance(catalogue, str) else catalogue
    (folder / "catalogue.jsonl").write_bytes(text)
    return folder


def test_lines_become_entries_in_the_order_of_their_files(tmp_path: Path) -> None:
    full = {
        "file": "b.glb",
        "noun": "armchair",
        "synonyms": ["chair", "seat"],
        "phrases": ["a worn green armchair"],
        "has_front": True,
        "pattern": "striped",
        "licence": "CC0",
    }
    lines = f'{json.dumps(full)}\n\n{{"file": "a.glb", "noun": "mug"}}\n'
    mug, armchair = read(folder_with(tmp_path, lines, "a.glb", "b.glb"))
    assert mug == Entry("a.glb", "mug")
    assert armchair == Entry("b.glb", "armchair", ("chair", "seat"), ("a worn green armchair",), True, "striped")
    assert armchair.names == ("armchair", "chair", "seat")


def test_an_editors_byte_order_mark_and_line_ends_do_no_harm(tmp_path: Path) -> None:
    # U+2028 ends a line for Python's splitlines, but not in JSON.
    lines = '\ufeff{"file": "a.glb", "noun": "mug", "phrases": ["a mug\u2028with a handle"]}\r\n'
    (entry,) = read(folder_with(tmp_path, lines, "a.glb"))
    assert entry.phrases == ("a mug\u2028with a handle",)


@pytest.mark.parametrize(
    ("stem", "noun"),
    [
        ("0003-iron-bed", "iron bed"),
        ("IronBed2", "iron bed"),
        ("Chair.001", "chair"),
        ("pirate_ship (1)", "pirate ship"),
        ("mp3", "mp3"),
        ("Étagère", "étagère"),
        ("0007", "0007"),
    ],
)
def test_without_a_catalogue_files_name_their_objects(stem: str, noun: str) -> None:
    assert named(stem) == noun


def test_without_a_catalogue_all_glb_files_count_whatever_their_case(tmp_path: Path) -> None:
    for name in ("02-chair.GLB", "01-mug.glb", "readme.txt", ".glb"):
        (tmp_path / name).touch()
    assert read(tmp_path) == (Entry("01-mug.glb", "mug"), Entry("02-chair.GLB", "chair"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "does not describe an object"),
        ("[1]", "no JSON object"),
        ('"mug"', "no JSON object"),
        ('{"file": "b.glb"}', "lacks 'noun'"),
        ('{"noun": "mug"}', "lacks 'file'"),
        ('{"file": "b.glb", "noun": 3}', "other than words"),
        ('{"file": "b.glb", "noun": " "}', "other than words"),
        ('{"file": "b.glb", "noun": "mug", "synonyms": "cup"}', "phrases are lists"),
        ('{"file": "b.glb", "noun": "mug", "phrases": null}', "phrases are lists"),
        ('{"file": "b.glb", "noun": "mug", "phrases": [[]]}', "other than words"),
        ('{"file": "b.glb", "noun": "mug", "has_front": "yes"}', "true or false"),
        ('{"file": "b.glb", "noun": "mug", "pattern": "tartan"}', "striped, spotted, checkered"),
        ('{"file": "b.glb", "noun": "mug", "pattern": []}', "striped, spotted, checkered"),
        ('{"file": "c.glb", "noun": "mug"}', "c.glb, which is not there; add the file"),
        ('{"file": "a.glb", "noun": "cup"}', "a.glb a second time; remove one"),
        ('{"file": "../b.glb", "noun": "cup"}', "a path; put the file beside"),
    ],
)
def test_a_bad_line_is_named_in_one_sentence(line: str, message: str, tmp_path: Path) -> None:
    folder_with(tmp_path, f"{GOOD}\n{line}\n", "a.glb", "b.glb")
    with pytest.raises(UserError) as raised:
        read(tmp_path)
    text = str(raised.value)
    assert text.startswith(f"{tmp_path / 'catalogue.jsonl'}, line 2 ")
    assert message in text
    assert "\n" not in text


def test_a_catalogue_in_another_encoding_is_named(tmp_path: Path) -> None:
    folder_with(tmp_path, '{"file": "a.glb", "noun": "étagère"}'.encode("latin-1"), "a.glb")
    with pytest.raises(UserError, match="save it as UTF-8"):
        read(tmp_path)


@pytest.mark.parametrize("catalogue", [None, "", "\n"])
def test_a_folder_without_objects_is_refused(catalogue: str | None, tmp_path: Path) -> None:
    if catalogue is not None:
        folder_with(tmp_path, catalogue)
    with pytest.raises(UserError, match="holds no objects; put GLB files into it"):
        read(tmp_path)


def test_an_entry_survives_json() -> None:
    entry = Entry("b.glb", "armchair", ("chair",), ("a worn armchair",), True, "striped")
    assert entry_of(json.loads(json.dumps(asdict(entry)))) == entry
