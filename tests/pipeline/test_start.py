"""What a request begins from, and the sentence for a file or a combination that makes no sense."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from backend.errors import OtherRunError, UserError
from backend.pipeline import start
from backend.pipeline.job import planned
from backend.pipeline.presets import preset
from backend.pipeline.request import Request
from backend.pipeline.start import Start, digest, start_of
from tests.pipeline.things import picture, save

MUG = Request("a red mug", device="cpu")


@pytest.fixture
def mesh(tmp_path: Path) -> Path:
    return save(tmp_path / "box.glb")


@pytest.fixture
def png(tmp_path: Path) -> Path:
    picture().save(tmp_path / "mug.png")
    return tmp_path / "mug.png"


def test_a_job_from_nothing_says_so() -> None:
    job, _ = planned(MUG)
    recipe = job.recipe()
    assert (job.start, job.paint_only, job.painting) == (None, False, None)
    assert (recipe["start"], recipe["strength"], recipe["mask"]) == (None, None, None)
    assert job.optimisation.strength == 1


def test_a_file_is_what_is_in_it_whatever_its_name(mesh: Path, png: Path, tmp_path: Path) -> None:
    assert start_of(replace(MUG, start=mesh)) == Start("mesh", mesh, digest(mesh), 0.5)
    assert start_of(replace(MUG, start=mesh, paint_only=True)) == Start("mesh", mesh, digest(mesh), 1.0)
    assert start_of(replace(MUG, start=png)) == Start("picture", png, digest(png), 1.0)
    unnamed = png.rename(tmp_path / "blob")
    assert start_of(replace(MUG, start=unnamed, sketch=True)) == Start("picture", unnamed, digest(unnamed), 1.0, True)


def test_a_recipe_knows_the_start_by_its_digest_and_no_path(mesh: Path, tmp_path: Path) -> None:
    mask = tmp_path / "mask.txt"
    mask.write_text("0 1")
    job, _ = planned(replace(MUG, start=mesh, paint_only=True, strength=0.25, mask=mask))
    recipe = job.recipe()
    assert (recipe["start"], recipe["mask"]) == (f"mesh {digest(mesh)}", digest(mask))
    assert (recipe["strength"], recipe["paint_only"]) == (0.25, True)
    assert job.optimisation.strength == 0.25
    assert str(tmp_path) not in str(recipe)


def test_colours_have_a_cfg_of_their_own_unless_one_is_asked_for(mesh: Path) -> None:
    chosen = preset("standard", small=True, device="cpu")
    given, after = replace(MUG, start=mesh, paint_only=True), replace(MUG, paint=True)
    assert planned(given)[0].optimisation.cfg == chosen.paint_cfg < chosen.cfg
    assert planned(replace(given, cfg=6))[0].optimisation.cfg == 6
    job, _ = planned(after)
    assert job.painting is not None
    assert (job.optimisation.cfg, job.painting.cfg) == (chosen.cfg, chosen.paint_cfg)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"strength": 0.5}, "--strength needs something to begin from; name it with --start"),
        ({"paint_only": True}, "--paint-only needs something to begin from"),
        ({"sketch": True}, "--sketch needs something"),
        ({"mask": Path("mask.txt")}, "--mask needs something"),
        ({"start": "box.glb", "strength": 0.0}, "strength is 0.0; give a number from 0.01 to 1"),
        ({"start": "box.glb", "strength": 1.5}, "strength is 1.5"),
        ({"start": "box.glb", "strength": float("nan")}, "strength is nan"),
        ({"start": "box.glb", "sketch": True}, "box.glb is no picture that can be read; name a sketch as PNG"),
        ({"start": "box.glb", "sketch": True, "paint_only": True}, "leave one of both out"),
        ({"start": "box.glb", "mask": "mug.png"}, "a mask says which triangles are painted; use it with --paint-only"),
        ({"start": "box.glb", "paint_only": True, "mask": "none.txt"}, "none.txt cannot be read"),
        ({"start": "mug.png", "paint_only": True}, "mug.png is a picture; to paint, name a mesh"),
        ({"start": "mug.png", "strength": 0.5}, "a picture has none; leave it out"),
        ({"start": "none.glb"}, r"none.glb cannot be read \(No such file or directory\); name another file"),
        ({"start": "."}, r"cannot be read \(Is a directory\)"),
        ({"start": "box.glb", "latent_field": True}, "a latent field cannot begin from something"),
        ({"paint": True, "latent_field": True}, "nor be painted; leave out the latent field"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(
    mesh: Path, png: Path, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    files = {name: tmp_path / changes[name] for name in ("start", "mask") if name in changes}
    with pytest.raises(UserError, match=sentence) as raised:
        planned(replace(MUG, **{**changes, **files}))
    assert "\n" not in str(raised.value)


def test_a_file_that_is_too_large_is_refused(mesh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = mesh.stat().st_size
    monkeypatch.setattr(start, "MOST_BYTES", size)
    assert start_of(replace(MUG, start=mesh))
    monkeypatch.setattr(start, "MOST_BYTES", size - 1)
    with pytest.raises(UserError, match=r"box\.glb is larger than 0 MiB; name a smaller file"):
        start_of(replace(MUG, start=mesh))


def test_a_picture_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (40, 3)).save(tmp_path / "wide.png")
    monkeypatch.setattr(start, "MOST_PIXELS", 39)
    with pytest.raises(UserError, match="more than 39 pixels a side; make it smaller"):
        start_of(replace(MUG, start=tmp_path / "wide.png"))


def test_a_mesh_and_its_mask_are_looked_at_before_anything_is_done(mesh: Path, tmp_path: Path) -> None:
    torn, mask = tmp_path / "torn.glb", tmp_path / "mask.txt"
    torn.write_bytes(mesh.read_bytes()[:200])
    with pytest.raises(UserError, match=r"torn\.glb cannot be read"):
        planned(replace(MUG, start=torn))
    mask.write_text("12")
    with pytest.raises(UserError, match=r"mask\.txt must name triangles of the mesh, by numbers from 0 to 11"):
        planned(replace(MUG, start=mesh, paint_only=True, mask=mask))


def test_a_file_that_changed_meanwhile_is_refused(mesh: Path) -> None:
    found = start_of(replace(MUG, start=mesh))
    assert found is not None
    found.verify()
    mesh.write_bytes(mesh.read_bytes() + b" ")
    with pytest.raises(OtherRunError, match=r"box.glb has changed since the run began"):
        found.verify()
