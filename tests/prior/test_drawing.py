import math
from collections import Counter

import numpy as np
import pytest
import torch
import trimesh

from backend.engine.cameras import CameraDistribution, Cameras
from backend.engine.shading import BackgroundDistribution
from backend.mesh.asset import TriangleMesh
from backend.prior import drawing
from backend.prior.catalogue import Entry
from backend.prior.colours import MainColour, oklab
from backend.prior.drawing import Batch, Paints, Source, World
from backend.prior.layers import cast
from backend.prior.materials import COLOURS
from backend.prior.objects import Surface, to_linear
from backend.prior.pool import RIG, Pool
from backend.prior.synonyms import COLOUR_WORDS
from backend.prior.wording import words_of

SIZE = 32


def surface(mesh: trimesh.Trimesh, shades: torch.Tensor) -> Surface:
    """A mesh whose triangles have display colours (F, 3)."""
    count = len(mesh.faces)
    return Surface(
        mesh=TriangleMesh(mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32)),
        colours=to_linear(shades.float())[:, None].expand(count, 3, 3),
        uvs=torch.zeros(count, 3, 2),
        texture=torch.full((count,), -1),
        textures=(),
    )


def shades(mesh: trimesh.Trimesh, *names: str) -> torch.Tensor:
    """Each triangle in one of the named colours, in turn along z."""
    band = np.floor((mesh.triangles_center[:, 2] + 1) * 3).astype(int) % len(names)
    return torch.tensor([COLOURS[names[index]] for index in band])


@pytest.fixture(scope="module")
def pool() -> Pool:
    """A box of one colour, a ball of many, a thing too thin for a whole pixel, a striped post, and four more balls."""
    ball, post = trimesh.creation.icosphere(3, 0.9), trimesh.creation.cylinder(0.5, 1.6, sections=24)
    post, thin = post.subdivide_to_size(0.15), trimesh.creation.box((0.01, 0.01, 1.9))
    octants = torch.from_numpy((ball.triangles_center > 0) @ [1, 2, 4])
    eight = ("red", "green", "blue", "yellow", "purple", "turquoise", "pink", "black")
    shapes = [
        (Entry("box", "box"), surface(trimesh.creation.box((1, 1, 1)), torch.tensor([COLOURS["blue"]] * 12))),
        (Entry("opal", "opal"), surface(ball, torch.tensor([COLOURS[name] for name in eight])[octants])),
        (Entry("needle", "needle", has_front=True), surface(thin, torch.rand(12, 3))),
        (Entry("post", "post", pattern="striped"), surface(post, shades(post, "blue", "blue", "white"))),
        *(
            (Entry(f"ball{index}", "ball"), surface(ball, torch.tensor([COLOURS["red"]] * len(ball.faces))))
            for index in range(4)
        ),
    ]
    cameras = [CameraDistribution().rigs(2, RIG, torch.Generator().manual_seed(i)) for i in range(len(shapes))]
    return Pool(
        entries=tuple(entry for entry, _ in shapes),
        layers=torch.cat([cast(s, c, SIZE).packed() for (_, s), c in zip(shapes, cameras, strict=True)]),
        cameras=Cameras(*(torch.cat(columns) for columns in zip(*(c.columns for c in cameras), strict=True))),
        entry=torch.arange(len(shapes)).repeat_interleave(2 * RIG),
    )


def source(pool: Pool, seed: int = 0, world: World | None = None) -> Source:
    return Source(pool, world or World(), torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("rig", "small"), [(1, False), (1, True), (RIG, False), (RIG, True)])
def test_a_batch_has_as_many_pictures_captions_and_views_as_were_asked_for(pool: Pool, rig: int, small: bool) -> None:
    batch = source(pool).draw(16, rig, small)
    side = SIZE // 2 if small else SIZE
    assert batch.images.shape == (16, 3, side, side)
    assert batch.images.min() >= 0
    assert batch.images.max() <= 1 + 1e-5
    assert len(batch.captions) == len(batch.views.features) == len(batch.entry) == 16
    assert batch.rig == rig


def test_what_a_batch_is_depends_on_the_seed_alone(pool: Pool) -> None:
    first, again, other = (source(pool, seed).draw(8, 1, False) for seed in (1, 1, 2))
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.views.features, again.views.features)
    assert first.captions == again.captions
    assert not torch.equal(first.images, other.images)


def test_batches_of_one_source_differ(pool: Pool) -> None:
    same = source(pool)
    assert not torch.equal(same.draw(8, 1, False).images, same.draw(8, 1, False).images)


def test_a_rig_shows_one_object_from_around_with_one_caption(pool: Pool) -> None:
    batch = source(pool).draw(32, RIG, False)
    for rig in range(8):
        part = slice(RIG * rig, RIG * (rig + 1))
        assert len(set(batch.captions[part])) == 1
        assert len(batch.entry[part].unique()) == 1
        turns = torch.remainder(torch.diff(batch.views.cameras.azimuth[part]), 2 * math.pi) / (math.pi / 2)
        assert turns.min() > 0.5
        assert turns.max() < 1.5


def test_single_pictures_are_of_any_object_from_any_view_of_it(pool: Pool) -> None:
    batch = source(pool).draw(2048, 1, True)
    azimuths = {(int(e), round(float(a), 5)) for e, a in zip(batch.entry, batch.views.cameras.azimuth, strict=True)}
    expected = {(int(e), round(float(a), 5)) for e, a in zip(pool.entry, pool.cameras.azimuth, strict=True)}
    assert azimuths == expected


def test_a_picture_is_told_with_its_own_view_and_noun(pool: Pool) -> None:
    batch = source(pool).draw(64, 1, False)
    for index, entry in enumerate(batch.entry.tolist()):
        (where,) = (pool.cameras.azimuth == batch.views.cameras.azimuth[index]).nonzero()
        assert pool.entry[where] == entry
        nouns = {pool.entries[entry].noun}
        assert nouns <= set(words_of(batch.captions[index]))
        background = batch.images[index, :, 0, 0]
        shown = (batch.images[index] - background[:, None, None]).abs().amax(0) > 0.2
        covered = pool.layers[where[0], 3].float() / 255
        assert not (shown & (covered == 0)).any()


def test_half_of_the_pictures_are_unlit_and_the_others_lit_from_about_the_camera(pool: Pool) -> None:
    lights = source(pool).lights(4000)
    unlit = lights.ambient == 1
    assert unlit.float().mean() == pytest.approx(0.5, abs=0.03)
    assert lights.ambient[~unlit].min() >= 0.3
    assert lights.ambient[~unlit].max() <= 0.9
    mean = lights.direction.mean(0)
    assert mean[2] > 0.8
    assert mean[:2].abs().max() < 0.03


def test_frequent_nouns_are_drawn_less_often_than_they_occur(pool: Pool) -> None:
    drawn = torch.cat([source(pool, seed).draw(400, 1, True).entry for seed in range(4)])
    nouns = Counter(pool.entries[index].noun for index in drawn.tolist())
    # Four balls against one box: twice as often.
    assert nouns["ball"] / nouns["box"] == pytest.approx(2, rel=0.2)
    assert nouns["opal"] / nouns["box"] == pytest.approx(1, rel=0.25)


def test_what_has_a_front_is_drawn_three_times_as_often(pool: Pool) -> None:
    drawn = torch.cat([source(pool, seed).draw(400, 1, True).entry for seed in range(4)])
    nouns = Counter(pool.entries[index].noun for index in drawn.tolist())
    assert nouns["needle"] / nouns["box"] == pytest.approx(3, rel=0.25)


def test_only_what_is_of_one_colour_can_be_painted(pool: Pool) -> None:
    paints = Paints(pool)
    names = dict(zip((entry.file for entry in pool.entries), paints.names, strict=True))
    assert names["box"] == names["ball0"] == tuple(COLOUR_WORDS)
    assert names["opal"] == names["needle"] == ()
    blue = oklab(torch.tensor(COLOURS["blue"]))
    assert (paints.main[0] - blue).norm() < 0.02


def test_a_pattern_is_never_painted_in_the_colour_that_breaks_it(pool: Pool) -> None:
    names = Paints(pool).names[3]
    assert {"white", "yellow"}.isdisjoint(names)
    assert {"red", "blue", "black", "green"} <= set(names)


def captioned(batch: Batch, index: int) -> set[str]:
    words = set(words_of(batch.captions[index]))
    return {name for name, synonyms in COLOUR_WORDS.items() if words & set(synonyms)}


def test_captions_name_colours_of_what_can_be_painted_alone(pool: Pool) -> None:
    batch = source(pool).draw(400, 1, True)
    told = [bool(captioned(batch, index)) for index in range(400)]
    painted = [can for can, entry in zip(told, batch.entry.tolist(), strict=True) if entry not in (1, 2)]
    others = [can for can, entry in zip(told, batch.entry.tolist(), strict=True) if entry in (1, 2)]
    assert not any(others)
    assert sum(painted) / len(painted) == pytest.approx(0.45, abs=0.08)


@pytest.mark.parametrize("rig", [1, RIG])
def test_what_a_caption_calls_red_is_red(rig: int, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "_UNLIT", 1.0)
    world = World(backgrounds=BackgroundDistribution(level=(0.31, 0.31), tint=0))
    batch = source(pool, world=world).draw(64, rig, False)
    seen = 0
    for index, entry in enumerate(batch.entry.tolist()):
        if entry not in (0, 4, 5, 6, 7):
            continue
        pixels = batch.images[index].permute(1, 2, 0).reshape(-1, 3)
        main = MainColour.of(oklab(pixels[(pixels - 0.31).abs().amax(-1) > 0.02])).lab
        (name,) = captioned(batch, index) or {"blue" if entry == 0 else "red"}
        assert (main - oklab(torch.tensor(COLOURS[name]))).norm() < 0.08
        seen += 1
    assert seen > 10


def test_now_and_then_a_caption_has_a_word_outside_the_vocabulary(pool: Pool) -> None:
    captions = [text for seed in range(5) for text in source(pool, seed).draw(400, 1, True).captions]
    assert sum("[UNK]" in text for text in captions) / len(captions) == pytest.approx(0.05, abs=0.02)


def test_colours_of_pixels_that_are_partly_covered_are_those_of_the_thing(pool: Pool) -> None:
    layers = pool.pictures(torch.arange(2 * RIG))
    partly = (layers.coverage > 0.2) & (layers.coverage < 0.9)
    assert partly.any()
    found = drawing.albedo(layers)[partly]
    torch.testing.assert_close(found, torch.tensor(COLOURS["blue"]).expand_as(found), atol=0.02, rtol=0)
