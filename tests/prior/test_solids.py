import pytest
import torch

from backend.prior import solids
from backend.prior.materials import COLOURS, contrast
from backend.prior.objects import to_display
from backend.prior.shapes import SHAPES
from backend.prior.solids import OBJECT_WORDS
from backend.prior.synonyms import PATTERN_WORDS


def test_each_solid_comes_plain_and_in_each_pattern_that_suits_it() -> None:
    entries = solids.entries(plain=3, patterned=2)
    assert len({entry.file for entry in entries}) == len(entries)
    for shape in SHAPES:
        own = [entry for entry in entries if entry.noun == shape.name]
        assert {entry.synonyms for entry in own} == {OBJECT_WORDS[shape.name][1:]}
        assert {entry.has_front for entry in own} == {shape.has_front}
        assert sum(entry.pattern is None for entry in own) == 3
        for pattern in PATTERN_WORDS:
            assert sum(entry.pattern == pattern for entry in own) == (2 if shape.patterns else 0)


@pytest.mark.parametrize(("file", "colours"), [("cube-plain-0", 1), ("cube-striped-0", 2), ("snowman-plain-1", 3)])
def test_a_solid_is_an_object_of_its_own_colours(file: str, colours: int) -> None:
    (entry,) = (entry for entry in solids.entries(2, 1) if entry.file == file)
    surface = solids.surface(entry)
    assert len(surface.colours) == len(surface.texture) == len(surface.mesh.triangles)
    assert torch.from_numpy(surface.mesh.vertices).norm(dim=-1).max() <= 1.01
    found = to_display(surface.colours[:, 0]).mul(1000).round().unique(dim=0) / 1000
    assert len(found) == colours
    if entry.noun == "cube":
        names = torch.tensor(list(COLOURS.values()))
        assert all((names - colour).norm(dim=-1).min() < 0.002 for colour in found)


def test_the_second_colour_of_a_pattern_stands_out() -> None:
    palette = torch.tensor(list(COLOURS.values()))
    assert (palette - contrast(palette)).norm(dim=-1).min() > 0.5


def test_seen_from_the_front_a_mug_has_its_handle_on_the_right() -> None:
    """The camera in front stands at -y and has +x on its right."""
    (entry, _) = (entry for entry in solids.entries(2, 0) if entry.noun == "mug")
    x, y, _ = torch.from_numpy(solids.surface(entry).mesh.vertices).unbind(1)
    # A handle is thin, a wall is as wide as the mug.
    right, left = (y[side].max() - y[side].min() for side in (x > 0.9 * x.max(), x < 0.9 * x.min()))
    assert right < left / 2


def test_the_name_alone_decides_what_a_solid_is_like() -> None:
    first, second = (entry for entry in solids.entries(2, 0) if entry.noun == "cone")
    assert torch.equal(solids.surface(first).colours, solids.surface(first).colours)
    sizes = [torch.from_numpy(solids.surface(entry).mesh.vertices).amax(0) for entry in (first, second)]
    assert not torch.allclose(*sizes)
