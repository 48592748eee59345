import json
import logging
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from backend.errors import UserError
from backend.guidance import library
from backend.guidance.library import ModelSource
from backend.pipeline.estimate import Expected
from backend.pipeline.presets import Preset
from backend.service import wordlists
from backend.service.offer import MODELS_BYTES, checked, offer
from shared.inputs import Start
from shared.jobs import Generation
from shared.limits import NAME_CHARACTERS
from shared.offer import MODELS, Offer
from shared.records import from_json
from shared.words import Words

MUG = Generation("a red mug")


@pytest.fixture(scope="module")
def builtin() -> ModelSource:
    return library.builtin()


@pytest.fixture
def large(tmp_path: Path) -> ModelSource:
    """A latent model without a vocabulary, as far as an offer looks at it."""
    for part in ("vae", "unet"):
        (tmp_path / part).mkdir()
    (tmp_path / "unet" / "config.json").write_text("{}")
    return ModelSource("owner/name", "owner/name", tmp_path, "c" * 40, "openrail", 4_000_000_000)


def unknown(model: ModelSource, name: str, chosen: Preset) -> None:
    """An estimate of nothing."""


def test_everything_that_is_offered_can_be_asked_for(builtin: ModelSource) -> None:
    def expected(model: ModelSource, name: str, chosen: Preset) -> Expected:
        return Expected(len(model.name) + len(name), 1.5)

    offered = offer([builtin], "cpu", expected, {"linear": [900, 20]})
    (model,) = offered.models
    assert (model.name, model.licence, model.size, model.latent) == ("builtin", builtin.licence, builtin.size, False)
    listed = wordlists.of(builtin.folder)
    assert listed
    assert listed.asset == model.words
    words = Words.unpack(listed.content)
    assert [(preset.name, preset.seconds) for preset in model.presets] == [
        ("draft", 12),
        ("standard", 15),
        ("high", 11),
    ]
    assert {preset.step_seconds for preset in model.presets} == {1.5}
    assert {schedule.name: schedule.timesteps for schedule in offered.schedules if schedule.timesteps} == {
        "linear": (900, 20)
    }
    for preset in model.presets:
        for schedule in offered.schedules:
            for field in offered.fields:
                prompt = f"a {words.adjectives[0]} {words.adjectives[-1]} {words.names[-1]}"
                asked = Generation(prompt, model=model.name, preset=preset.name, schedule=schedule.name, field=field)
                assert checked(asked, [builtin])[1] == []


WHOLE = ("seed", "steps", "faces", "texture")


MESH_START = Start("mesh", "ab" * 32, "Suzanne")


def with_number(name: str, value: float) -> Generation:
    asked = replace(MUG, start=MESH_START) if name == "strength" else MUG
    return replace(asked, **{name: int(value) if name in WHOLE else value})


def test_ranges_are_the_ones_that_requests_are_held_to(builtin: ModelSource) -> None:
    ranges = offer([builtin], "cpu", unknown, {}).ranges
    assert {limits.name for limits in ranges} == {*WHOLE, "cfg", "level", "strength"}
    for limits in ranges:
        for value in (limits.least, limits.most):
            checked(with_number(limits.name, value), [builtin])
        if limits.name != "seed":  # the message itself refuses others
            for value in (limits.least - 1, limits.most + 1):
                with pytest.raises((UserError, ValueError), match=limits.name):
                    checked(with_number(limits.name, value), [builtin])


def test_a_large_model_is_offered_with_a_hash_grid_on_every_device(large: ModelSource) -> None:
    on_cpu, on_gpu = (offer([large], device, unknown, {}).models[0] for device in ("cpu", "cuda"))
    assert on_cpu.latent
    assert on_cpu.words is None
    assert {preset.field for preset in on_cpu.presets} == {"voxel"}
    assert {preset.field for preset in on_gpu.presets} == {"hashgrid"}
    assert all(preset.cfg == 100 and preset.seconds is None for preset in on_cpu.presets)


def test_a_multi_view_model_is_offered_by_its_own_presets(large: ModelSource) -> None:
    told = {"class_embed_type": "projection", "projection_class_embeddings_input_dim": 16}
    (large.folder / "unet" / "config.json").write_text(json.dumps(told))
    presets = offer([large], "cuda", unknown, {}).models[0].presets
    assert {(preset.cfg, preset.schedule) for preset in presets} == {(50, "window")}


def test_an_offer_survives_the_wire(builtin: ModelSource, large: ModelSource) -> None:
    offered = offer([builtin, large], "cpu", unknown, {})
    assert from_json(Offer, json.loads(json.dumps(asdict(offered)))) == offered


@pytest.mark.parametrize(
    "lexicon",
    ["{", "[]", '{"things": ["mug"]}', '{"nouns": [], "patterns": [], "words": []}', '{"nouns": ["mug"]}'],
)
def test_a_model_with_a_bad_lexicon_is_left_out(
    builtin: ModelSource, large: ModelSource, lexicon: str, caplog: pytest.LogCaptureFixture
) -> None:
    (large.folder / "lexicon.json").write_text(lexicon)
    with caplog.at_level(logging.WARNING):
        offered = offer([builtin, large], "cpu", unknown, {})
    assert [model.name for model in offered.models] == ["builtin"]
    assert re.search("'owner/name' is not offered.*damaged", caplog.text)


@pytest.mark.parametrize("name", ["x" * 201, "a\0b", "half \udc80"])
def test_a_model_whose_name_cannot_be_sent_is_left_out(builtin: ModelSource, large: ModelSource, name: str) -> None:
    offered = offer([replace(large, name=name), builtin], "cpu", unknown, {})
    assert [model.name for model in offered.models] == ["builtin"]


def test_models_beyond_the_room_of_a_message_are_left_out(
    builtin: ModelSource, caplog: pytest.LogCaptureFixture
) -> None:
    copies = [replace(builtin, name=f"{number:0{NAME_CHARACTERS}}") for number in range(MODELS)]
    with caplog.at_level(logging.WARNING):
        offered = offer([builtin, *copies], "cpu", unknown, {})
    assert 20 < len(offered.models) < 60
    assert 0.9 * MODELS_BYTES < len(json.dumps([asdict(model) for model in offered.models])) < 1.01 * MODELS_BYTES
    assert "too many" in caplog.text


def test_no_more_models_are_offered_than_clients_take(builtin: ModelSource, caplog: pytest.LogCaptureFixture) -> None:
    copies = [replace(builtin, name=f"copy {number}") for number in range(MODELS)]
    with caplog.at_level(logging.WARNING):
        offered = offer([builtin, *copies], "cpu", unknown, {})
    assert len(offered.models) == MODELS
    assert "'copy 63' and those after it are not offered" in caplog.text


def test_a_request_arrives_as_it_was_made(builtin: ModelSource) -> None:
    asked = Generation("a red mug", "blue", "builtin", "high", 7, 9, "sqrt", "voxel", 2.5, 900, 128, 3.0, False)
    request, warnings = checked(asked, [builtin])
    assert warnings == []
    assert (request.guidance, request.device) == ("builtin", "auto")
    same = {name: getattr(request, name) for name in asdict(asked) if name != "model"}
    assert {"model": "builtin", **same} == asdict(asked)


def test_words_without_effect_are_named(builtin: ModelSource) -> None:
    _, warnings = checked(Generation("a glittering mug", "blurry"), [builtin])
    assert [re.findall(r"'\w+'", warning) for warning in warnings] == [["'glittering'"], ["'blurry'"]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": "a dragon"}, "knows no object"),
        ({"prompt": " "}, "prompt is empty"),
        ({"preset": "best"}, "choose one of draft"),
        ({"schedule": "warp"}, "choose one of time_prior"),
        ({"field": "mesh"}, "choose one of voxel"),
        ({"cfg": float("nan")}, "cfg is nan"),
        ({"latent_field": True}, "has no latents"),
        ({"model": "bultin"}, 'no model "bultin"; choose another, such as builtin'),
        ({"model": "BUILTIN"}, "no model"),
        ({"model": "elsewhere/unlisted"}, "no model"),
    ],
)
def test_what_cannot_be_done_is_refused(builtin: ModelSource, changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        checked(replace(MUG, **changes), [builtin])


def test_a_path_is_no_model(builtin: ModelSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(builtin.folder.parent)
    for path in (str(builtin.folder), builtin.folder.name, f"./{builtin.folder.name}"):
        with pytest.raises(UserError, match="no model"):
            checked(replace(MUG, model=path), [builtin])


@pytest.mark.parametrize(
    ("start", "asked", "told"),
    [
        (MESH_START, {"sketch": True}, "no sketch"),
        (Start("picture", "ab" * 32, "front"), {"paint_only": True}, "cannot be painted on"),
        (Start("picture", "ab" * 32, "front"), {"strength": 0.5}, "a picture has none"),
        (None, {"paint_only": True}, "need something to begin from"),
    ],
)
def test_what_does_not_go_with_a_start_is_refused(
    builtin: ModelSource, start: Start | None, asked: dict[str, Any], told: str
) -> None:
    with pytest.raises(UserError, match=told):
        checked(replace(MUG, start=start, **asked), [builtin])


def test_a_start_is_named_by_its_digest_alone(builtin: ModelSource) -> None:
    request, _ = checked(replace(MUG, start=MESH_START, strength=0.3, paint_only=True), [builtin])
    assert (request.start, request.strength, request.paint_only) == (Path("ab" * 32), 0.3, True)
