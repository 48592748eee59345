"""The catalogue: fresh when models change, and only then."""

from pathlib import Path
from typing import Any

import pytest

from backend.errors import UserError
from backend.guidance import library
from backend.home import VARIABLE
from backend.pipeline import speeds
from backend.service.catalogue import Catalogue
from shared.jobs import Generation
from shared.words import Words


@pytest.fixture
def facts() -> dict[str, Any]:
    return {}


@pytest.fixture
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any]) -> Catalogue:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    return Catalogue("cpu", lambda: [("builtin", "draft", 11.0)], lambda: facts)


def seconds(catalogue: Catalogue) -> dict[str, float | None]:
    return {preset.name: preset.seconds for preset in catalogue.offer().models[0].presets}


def test_estimates_come_from_experience_and_then_from_measurement(catalogue: Catalogue, facts: dict[str, Any]) -> None:
    assert seconds(catalogue) == {"draft": 11.0, "standard": None, "high": None}
    facts["seconds_per_step"] = 0.1
    found = seconds(catalogue)
    assert found["draft"] == 11.0
    assert found["standard"]
    assert found["standard"] > 18


def test_what_earlier_jobs_steps_took_on_this_device_is_known(catalogue: Catalogue, facts: dict[str, Any]) -> None:
    speeds.remember("a card", "builtin", "standard", 2.0)
    facts |= {"device": "another card", "seconds_per_step": 0.1}
    just_now = seconds(catalogue)["standard"]
    facts |= {"device": "a card"}
    before = seconds(catalogue)["standard"]
    assert just_now
    assert before
    assert before > 10 * just_now


def test_an_added_model_is_offered_at_once(catalogue: Catalogue, tmp_path: Path) -> None:
    assert [model.name for model in catalogue.offer().models] == ["builtin"]
    with pytest.raises(UserError, match="no model"):
        catalogue.check(Generation("a mug", model="mine"))
    (tmp_path / "mine").symlink_to(library.builtin().folder, target_is_directory=True)
    source = library.of_folder(tmp_path / "mine")
    library.record(type(source)(**{**vars(source), "name": "mine"}))
    assert [model.name for model in catalogue.offer().models] == ["builtin", "mine"]
    assert catalogue.check(Generation("a red mug", model="mine")) == []


def test_models_are_read_once(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue.offer()
    monkeypatch.setattr(library, "usable", lambda: pytest.fail("read again"))
    catalogue.offer()
    catalogue.check(Generation("a red mug"))


def test_words_of_offered_models_are_there_by_their_digest(catalogue: Catalogue) -> None:
    (builtin,) = catalogue.offer().models
    assert builtin.words
    content = catalogue.words(builtin.words.sha256)
    assert content
    assert "mug" in Words.unpack(content).names
    assert catalogue.words("ab" * 32) is None


def test_a_path_is_no_model(catalogue: Catalogue) -> None:
    with pytest.raises(UserError, match="no model"):
        catalogue.check(Generation("a red mug", model=str(library.builtin().folder)))
