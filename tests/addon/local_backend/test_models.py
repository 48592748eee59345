"""Models of the local backend, by its own command."""

import threading
from typing import Any

import pytest


def test_a_look_tells_size_and_licence(m: Any, environment: Any) -> None:
    offer = m.models.Models(environment, online=True).look("owner/name")
    assert offer == m.models.ModelOffer("owner/name", 5_200_000_000, "mit", "0123")
    assert str(offer) == "owner/name: 5.2 GB, licence mit"


def test_adding_is_heard_and_an_id_is_never_an_option(m: Any, environment: Any) -> None:
    heard: list[str] = []
    m.models.Models(environment, online=True).add("--all", heard.append)
    assert heard[0].startswith("models add --yes -- --all in ")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Fetching 10 files:  90%|█████████ | 9/10 [00:00<00:00, 81.32it/s]", "9 of 10 files are here"),
        ("Fetching 10 files:   0%|          | 0/10 [00:00<?, ?it/s]", "0 of 10 files are here"),
        ("owner/name: 41.0 MB, licence mit, commit 0123", ""),
        ("", ""),
    ],
)
def test_how_far_it_is_fits_into_the_panel(m: Any, line: str, words: str) -> None:
    assert m.models.files_here(line) == words


def test_what_the_backend_complains_of_is_told(m: Any, environment: Any) -> None:
    with pytest.raises(m.troubles.ModelError) as failed:
        m.models.Models(environment, online=True).look("owner/unknown")
    assert (failed.value.sentence, failed.value.remedy) == (
        "the hub has no model owner/unknown",
        "check the spelling",
    )


def test_offline_nothing_is_asked(m: Any, environment: Any) -> None:
    models = m.models.Models(environment, online=False)
    for ask in (models.look, models.add):
        with pytest.raises(m.troubles.ModelError, match="Allow Online Access"):
            ask("owner/name")


def test_a_file_of_this_computer_needs_no_internet(m: Any, environment: Any, tmp_path: Any) -> None:
    path = str(tmp_path / "dreamshaper_8.safetensors")
    models = m.models.Models(environment, online=False)
    assert models.look(path).name == path  # the stand-in tells what it was asked
    heard: list[str] = []
    models.add(path, heard.append)
    assert heard[0].startswith(f"models add --yes -- {path} in ")


def test_a_file_that_takes_too_long_to_read_is_given_up(m: Any, environment: Any, tmp_path: Any) -> None:
    (environment.home / "behaviour").write_text("hang")
    path = str(tmp_path / "dreamshaper_8.safetensors")
    with pytest.raises(m.troubles.ModelError, match="takes too long to read; put it on a faster disk"):
        m.models.Models(environment, online=False).look(path, seconds=0.3)


def test_a_hub_that_does_not_answer_is_given_up(m: Any, environment: Any) -> None:
    (environment.home / "behaviour").write_text("hang")
    with pytest.raises(m.troubles.ModelError, match="does not answer"):
        m.models.Models(environment, online=True).look("owner/name", seconds=0.3)


def test_adding_can_be_cancelled(m: Any, environment: Any) -> None:
    (environment.home / "behaviour").write_text("hang")
    models = m.models.Models(environment, online=True)
    threading.Timer(0.3, models.cancel).start()
    with pytest.raises(m.troubles.ModelError, match="was cancelled; add it again"):
        models.add("owner/name")


def test_without_an_environment_it_says_so(m: Any, tmp_path: Any) -> None:
    with pytest.raises(m.troubles.ModelError, match="cannot be run"):
        m.models.Models(m.environment.Environment(tmp_path), online=True).look("owner/name")
