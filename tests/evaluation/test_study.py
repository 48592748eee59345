"""The page of a user study, as a file."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backend.errors import UserError
from backend.evaluation import study
from backend.evaluation.rows import Row, Rows
from backend.evaluation.runs import DEFAULT, Run, Suite, picture_of
from backend.evaluation.study import Key, Study

BOTH = "time_prior,uniform"


def evaluated(folder: Path, runs: Iterable[Run], suite: Suite = "3d") -> Path:
    """A folder as an evaluation leaves it. What time_prior made is red, and all else is blue."""
    kept = Rows(folder, suite, {}, resume=False)
    for run in runs:
        kept.append(Row(run))
        path = picture_of(run, folder)
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8 * 64, 64), "red" if run.schedule == "time_prior" else "blue").save(path)
    return folder


def run(schedule: str, prompt: str = "a red mug", seed: int = 0, steps: int = 60, variant: str = DEFAULT) -> Run:
    return Run("3d", variant, schedule, steps, prompt, seed)  # type: ignore[arg-type]  # a schedule's name


def name_of(run: Run) -> str:
    return picture_of(run, Path()).name


def both(prompts: Iterable[str], seeds: int = 1, budgets: Iterable[int] = (60,)) -> list[Run]:
    return [
        run(schedule, prompt, seed, steps)
        for prompt in prompts
        for steps in budgets
        for seed in range(seeds)
        for schedule in ("time_prior", "uniform")
    ]


def content(page: Path) -> dict[str, Any]:
    (found,) = re.findall(r'<script id="study" type="application/json">(.*?)</script>', page.read_text(), re.DOTALL)
    return dict(json.loads(found))


def written(drawn: Study, folder: Path) -> Path:
    study.write(drawn, folder / "page.html")
    return folder / "page.html"


def shown(drawn: Study) -> list[tuple[str, str]]:
    return [(pair.pictures[0].name, pair.pictures[1].name) for pair in drawn.pairs]


def test_arms_are_paired_by_prompt_and_seed_after_the_most_steps(tmp_path: Path) -> None:
    made = [*both(["a red mug", "a fox"], seeds=2, budgets=(30, 60)), run("uniform", "an owl")]
    drawn = study.drawn(evaluated(tmp_path, made), "3d", BOTH, 30)
    assert drawn.arms == ("time_prior/60", "uniform/60")
    assert [pair.prompt for pair in drawn.pairs] == ["a red mug", "a fox"] * 2, "all prompts before a second seed"
    assert shown(drawn)[2] == (name_of(run("time_prior", seed=1)), name_of(run("uniform", seed=1)))
    assert [pair.prompt for pair in study.drawn(tmp_path, "3d", BOTH, 3).pairs] == ["a red mug", "a fox", "a red mug"]


def test_an_arm_may_be_of_fewer_steps(tmp_path: Path) -> None:
    evaluated(tmp_path, both(["a red mug"], budgets=(30, 60)))
    drawn = study.drawn(tmp_path, "3d", "time_prior/30, uniform", 30)
    assert drawn.arms == ("time_prior/30", "uniform/60")
    assert shown(drawn) == [(name_of(run("time_prior", steps=30)), name_of(run("uniform")))]


def test_an_arm_may_be_a_variant(tmp_path: Path) -> None:
    evaluated(tmp_path, [run("time_prior"), run("time_prior", variant="W_d * time_prior")])
    drawn = study.drawn(tmp_path, "3d", "default,W_d * time_prior", 30)
    assert shown(drawn) == [(name_of(run("time_prior")), name_of(run("time_prior", variant="W_d * time_prior")))]


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        ("time_prior", '"time_prior" are not two arms; try --arms time_prior,uniform'),
        ("time_prior,uniform,linear", "are not two arms"),
        (
            "uniform,linnear",
            'no run of 3d is "linnear"; there are cfg=15/time_prior, default/time_prior, default/uniform',
        ),
        (
            "time_prior,uniform",
            '"time_prior" is more than one arm of 3d: say which of cfg=15/time_prior, default/time_',
        ),
        ("cfg=15,uniform", "holds no pairs of cfg=15 and uniform to show: no prompt and seed is of both"),
        ("time_prior/default,uniform", "to show: their pictures are not there"),
    ],
)
def test_arms_that_cannot_be_are_refused(tmp_path: Path, arms: str, said: str) -> None:
    evaluated(tmp_path, [*both(["a red mug"]), run("time_prior", "a fox", variant="cfg=15")])
    picture_of(run("uniform"), tmp_path).unlink()
    with pytest.raises(UserError, match=re.escape(said)):
        study.drawn(tmp_path, "3d", arms, 30)


def test_a_suite_that_was_not_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no rows of 2d: run that suite first"):
        study.drawn(evaluated(tmp_path, both(["a fox"])), "2d", BOTH, 30)


def test_pairs_without_pictures_are_left_out(tmp_path: Path) -> None:
    evaluated(tmp_path, both(["a red mug", "a fox"]))
    picture_of(run("time_prior", "a fox"), tmp_path).unlink()
    assert [pair.prompt for pair in study.drawn(tmp_path, "3d", BOTH, 30).pairs] == ["a red mug"]


def test_the_page_holds_everything_and_says_nothing_of_the_arms(tmp_path: Path) -> None:
    prompts = [f"a thing {number}" for number in range(8)]
    page = written(study.drawn(evaluated(tmp_path, both(prompts)), "3d", BOTH, 30), tmp_path)
    text = page.read_text()
    assert not re.search(r"https?://|src=|href=\"|@import", text)
    assert "time_prior" not in text
    assert "uniform" not in text
    kept = content(page)
    key = Key.decoded(kept["key"])
    assert key.arms == ("time_prior/60", "uniform/60")
    assert set(key.exchanged) == {True, False}, "neither arm always comes first"
    red = next(pair["pictures"][exchanged] for pair, exchanged in zip(kept["pairs"], key.exchanged, strict=True))
    assert red["frames"] == 8
    for pair, exchanged, prompt in zip(kept["pairs"], key.exchanged, prompts, strict=True):
        assert pair["prompt"] == prompt
        assert pair["pictures"][exchanged] == red
        assert pair["pictures"][not exchanged] != red


def test_the_same_pictures_make_the_same_page_and_others_another_study(tmp_path: Path) -> None:
    drawn = study.drawn(evaluated(tmp_path, both(["a red mug"])), "3d", BOTH, 30)
    page = written(drawn, tmp_path)
    first = page.read_bytes()
    written(drawn, tmp_path)
    assert page.read_bytes() == first
    Image.new("RGB", (512, 64), "green").save(drawn.pairs[0].pictures[0])
    before = content(page)["id"]
    assert content(written(drawn, tmp_path))["id"] != before, "answers to one must not be taken for those to the other"


def test_thirty_pairs_of_objects_that_are_all_grain_are_less_than_ten_megabytes(tmp_path: Path) -> None:
    drawn = study.drawn(evaluated(tmp_path, both(["a red mug"])), "3d", BOTH, 30)
    strip = np.full((64, 8, 64, 3), 153, np.uint8)
    strip[12:52, :, 12:52] = np.random.default_rng(0).integers(0, 256, (40, 8, 40, 3))
    for picture in drawn.pairs[0].pictures:
        Image.fromarray(strip.reshape(64, 512, 3)).save(picture)
    assert written(drawn, tmp_path).stat().st_size < 10e6 / 30


def test_a_prompt_cannot_end_the_script(tmp_path: Path) -> None:
    prompt = "a </script><b>mug STUDY"
    drawn = study.drawn(evaluated(tmp_path, both(["a red mug"])), "3d", BOTH, 30)
    odd = Study(drawn.arms, [study.Pair(prompt, drawn.pairs[0].pictures)])
    assert content(written(odd, tmp_path))["pairs"][0]["prompt"] == prompt


def test_what_cannot_be_written_or_read_is_one_sentence_and_replaces_nothing(tmp_path: Path) -> None:
    drawn = study.drawn(evaluated(tmp_path, both(["a red mug"])), "3d", BOTH, 30)
    rows = tmp_path / "rows-3d.jsonl"
    before = rows.read_bytes()
    with pytest.raises(UserError, match=r"ends in \.html: try --study .*rows-3d\.html"):
        study.write(drawn, rows)
    assert rows.read_bytes() == before
    with pytest.raises(UserError, match="name another file with --study"):
        study.write(drawn, rows / "page.html")
    drawn.pairs[0].pictures[0].write_bytes(b"\x89PNG cut off")
    with pytest.raises(UserError, match="is no picture of a run"):
        written(drawn, tmp_path)
    assert not (tmp_path / "page.html").exists()
