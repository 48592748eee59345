"""A model's card, for a tiny model of a small catalogue."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from backend.errors import UserError
from backend.prior import card, catalogue, judge, model, network
from backend.prior.catalogue import Entry
from backend.prior.judge import Judge
from backend.prior.lexicon import Lexicon
from backend.prior.network import Architecture

LINES = [
    {"file": "0.glb", "noun": "chair", "licence": "CC-BY", "source": "a library", "creator": "Zoe", "group": "seats"},
    {"file": "1.glb", "noun": "chair", "licence": "CC-BY", "source": "a library", "creator": "Zoe"},
    {"file": "2.glb", "noun": "bench", "licence": "CC-BY", "source": "a library", "creator": "Zoe"},
    {"file": "3.glb", "noun": "bus", "licence": "CC-BY-3.0", "source": "models of a lab", "creator": None},
    {"file": "4.glb", "noun": "fox", "licence": "CC0", "source": "animals", "creator": "Ann"},
]


@pytest.fixture
def objects(tmp_path: Path) -> Path:
    folder = tmp_path / "objects"
    folder.mkdir()
    for line in LINES:
        (folder / str(line["file"])).write_bytes(b"")
    (folder / catalogue.FILE).write_text("\n".join(map(json.dumps, LINES)))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lexicon = Lexicon.of(Entry(line["file"], line["noun"], group=line.get("group", "others")) for line in LINES)
    tiny = Architecture(channels=(16, 16, 16, 16), heads=1, text_width=16, text_layers=1)
    model.save(network.build(32, lexicon.words, tiny, seed=0), tmp_path / "model")
    judge.save(Judge(lexicon), tmp_path / "model")
    return tmp_path / "model"


def invoke(objects: Path, folder: Path) -> tuple[int, str]:
    arguments = ["--objects", str(objects), "--model", str(folder), "--images", "1234567"]
    result = CliRunner().invoke(card.main, arguments)
    return result.exit_code, result.output


def test_every_creator_who_has_to_be_named_is_with_all_objects(objects: Path) -> None:
    assert card.creators(card.credited(objects)).splitlines() == [
        "- models of a lab (CC-BY-3.0): bus",
        "- Zoe (CC-BY; a library): bench, chair (2)",
    ]


def test_sources_are_counted_with_their_licences(objects: Path) -> None:
    rows = card.sources(card.credited(objects)).splitlines()[2:]
    assert rows == ["| a library | CC-BY | 3 |", "| models of a lab | CC-BY-3.0 | 1 |", "| animals | CC0 | 1 |"]


def test_a_card_says_what_a_model_is_and_knows(objects: Path, folder: Path) -> None:
    code, output = invoke(objects, folder)
    assert code == 0, output
    text = (folder / "README.md").read_text()
    assert text.startswith("# The built-in model, 32 x 32\n")
    assert "\n4 kinds of objects and synonyms of them, 12 colours (red, " in text
    assert "others (3), seats (1)" in text
    assert "On 1,234,567 pictures of 5 objects" in text
    assert "16, 16, 16, 16 channels" in text
    assert "<!-- scores -->\nNot measured yet.\n<!-- /scores -->" in text
    assert text.endswith("- Zoe (CC-BY; a library): bench, chair (2)\n")


def test_a_card_that_is_written_again_keeps_its_scores(objects: Path, folder: Path) -> None:
    invoke(objects, folder)
    path = folder / "README.md"
    path.write_text(path.read_text().replace("Not measured yet.", "| right noun first | 70.0 % |"))
    assert invoke(objects, folder)[0] == 0
    assert "<!-- scores -->\n| right noun first | 70.0 % |\n<!-- /scores -->" in path.read_text()


def test_objects_of_nobody_get_no_card(objects: Path, folder: Path) -> None:
    del (whole := [dict(line) for line in LINES])[3]["licence"]
    (objects / catalogue.FILE).write_text("\n".join(map(json.dumps, whole)))
    code, output = invoke(objects, folder)
    assert code == 1
    assert "does not say whose the objects are ('licence')" in output
    assert not (folder / "README.md").exists()
    (objects / catalogue.FILE).unlink()
    with pytest.raises(UserError, match="add licence and source"):
        card.credited(objects)


def test_a_folder_without_a_judge_gets_no_card(objects: Path, folder: Path) -> None:
    other = Path(shutil.copytree(folder, folder.parent / "other"))
    (other / "judge.safetensors").unlink()
    code, output = invoke(objects, other)
    assert code == 1
    assert "holds no judge" in output
