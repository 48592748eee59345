import json
from dataclasses import replace
from typing import Any

import pytest

from shared.assets import Asset
from shared.limits import NAME_CHARACTERS, WORDS_BYTES
from shared.offer import FIELDS, MODELS, PRESETS, RANGES, Offer, OfferedModel, OfferedPreset, OfferedSchedule, Range
from shared.records import from_json, to_json

DRAFT = OfferedPreset("draft", 60, 5_000, 512, "voxel", "time_prior", 7.5, None, None)
SMALL = OfferedModel(
    name="builtin",
    licence="MIT",
    size=12,
    latent=False,
    words=Asset("words.json", "ab" * 32, 70),
    presets=(DRAFT,),
)
OFFER = Offer((SMALL,), (OfferedSchedule("time_prior", (900, 20)),), ("voxel",), (Range("steps", 1.0, 100.0),))


def as_sent(offer: Offer = OFFER) -> dict[str, Any]:
    """The offer as it comes out of a message."""
    content: dict[str, Any] = json.loads(json.dumps(to_json(offer)))
    return content


def test_an_offer_survives_the_wire() -> None:
    assert from_json(Offer, as_sent()) == OFFER


def test_a_whole_number_will_do_where_a_fraction_could_stand() -> None:
    content = as_sent()
    content["models"][0]["presets"][0]["cfg"] = 100
    content["ranges"][0]["least"] = 1
    read = from_json(Offer, content)
    assert (read.models[0].presets[0].cfg, read.ranges[0].least) == (100.0, 1.0)


@pytest.mark.parametrize("key", ["models", "schedules", "fields", "ranges"])
def test_a_lacking_or_foreign_part_is_named(key: str) -> None:
    content = as_sent()
    value = content.pop(key)
    with pytest.raises(ValueError, match=f"lacks {key}"):
        from_json(Offer, content)
    with pytest.raises(ValueError, match="has no 'extra'"):
        from_json(Offer, {**content, key: value, "extra": 1})
    with pytest.raises(ValueError, match=f"{key} is"):
        from_json(Offer, {**content, key: "text"})


LONG = "x" * (NAME_CHARACTERS + 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", ""),
        ("name", LONG),
        ("name", "two\nlines"),
        ("name", 7),
        ("licence", LONG),
        ("size", -1),
        ("size", 1.5),
        ("size", 2**53),
        ("size", True),
        ("latent", 0),
        ("words", ["mug"]),
        ("words", {"name": "words.json", "sha256": "ab" * 32, "size": WORDS_BYTES + 1}),
        ("presets", [{}]),
        ("presets", to_json(DRAFT)),
        ("presets", [to_json(DRAFT)] * (PRESETS + 1)),
    ],
)
def test_a_model_that_cannot_be_is_refused(name: str, value: object) -> None:
    content = as_sent()
    content["models"][0][name] = value
    with pytest.raises(ValueError, match={"presets": "presets|Preset", "words": "words|Asset"}.get(name, name)):
        from_json(Offer, content)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("faces", 0.5),
        ("texture", "512"),
        ("field", LONG),
        ("schedule", None),
        ("cfg", -0.1),
        ("cfg", float("nan")),
        ("cfg", float("inf")),
        ("seconds", float("inf")),
        ("seconds", -1.0),
        ("step_seconds", -1.0),
    ],
)
def test_a_preset_that_cannot_be_is_refused(name: str, value: object) -> None:
    content = as_sent()
    content["models"][0]["presets"][0][name] = value
    with pytest.raises(ValueError, match=name):
        from_json(Offer, content)


@pytest.mark.parametrize("name", ["models", "ranges", "schedules", "fields"])
def test_long_lists_are_refused_and_the_longest_are_not(name: str) -> None:
    content = as_sent()
    most = {"models": MODELS, "ranges": RANGES, "schedules": PRESETS}.get(name, FIELDS)
    content[name] *= most
    assert len(getattr(from_json(Offer, content), name)) == most
    content[name].append(content[name][0])
    with pytest.raises(ValueError, match=name):
        from_json(Offer, content)


def test_names_may_be_as_long_as_the_limit_and_speak_any_language() -> None:
    name = "é" * NAME_CHARACTERS
    assert from_json(Range, {"name": name, "least": 0, "most": 0}).name == name


def test_a_range_runs_upwards() -> None:
    with pytest.raises(ValueError, match="range of steps is empty"):
        Range("steps", 2.0, 1.0)
    with pytest.raises(ValueError, match="most"):
        Range("steps", 1.0, float("inf"))


def test_more_steps_take_as_much_longer_as_a_step_takes() -> None:
    known = replace(DRAFT, seconds=12.0, step_seconds=0.1)
    assert [known.takes(steps) for steps in (None, 60, 160, 10, 1)] == [12.0, 12.0, 22.0, 7.0, pytest.approx(6.1)]
    assert replace(known, seconds=1.0).takes(1) == 0.0
    unknown = replace(known, step_seconds=None)
    assert [unknown.takes(steps) for steps in (None, 60, 160)] == [12.0, 12.0, None]
    assert DRAFT.takes(None) is DRAFT.takes(160) is None
