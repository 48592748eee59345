import dataclasses
import math
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from backend.errors import UserError
from backend.prior import evaluate, judge, model, network
from backend.prior.catalogue import Entry
from backend.prior.evaluate import Exam, Marks, Scores, Task
from backend.prior.judge import SECTORS, Judge, Verdict
from backend.prior.lessons import EXAM_VIEWS, Split
from backend.prior.lexicon import Lexicon
from backend.prior.network import Architecture
from backend.prior.pool import Pool

LEXICON = Lexicon.of(
    [
        Entry("0", "armchair", ("chair",), (), True),
        Entry("1", "chair", (), (), True),
        Entry("2", "orange"),
        Entry("3", "mug", (), (), True),
    ]
)
SCORES = Scores(noun_first=0.7, noun_among_few=0.875, facing=0.9, colour=9.87)


def number(noun: str) -> int:
    return LEXICON.numbers[noun]


def test_tasks_go_through_all_nouns_and_every_other_one_has_a_colour(generator: torch.Generator) -> None:
    tasks = evaluate.tasks(LEXICON, 48, generator)
    assert [sum(task.noun == noun for task in tasks) for noun in range(4)] == [12] * 4
    assert [task.colour is None for task in tasks] == [True, False] * 24
    assert {task.colour for task in tasks if task.colour} == set(LEXICON.colours)
    for task in tasks:
        known = LEXICON.knows(task.prompt)
        assert (known.name, known.colour, known.warning) == (LEXICON.nouns[task.noun].noun, task.colour, None)
    assert tasks != evaluate.tasks(LEXICON, 48, generator)


def test_colours_are_asked_for_without_light(generator: torch.Generator) -> None:
    views = evaluate.views(evaluate.tasks(LEXICON, 20, generator), generator)
    assert (views.lights.ambient[1::2] == 1).all()
    assert (views.lights.ambient[::2] < 1).all()


def test_samples_are_marked_by_noun_facing_and_colour() -> None:
    tasks = [
        Task(number("armchair"), None, "an armchair"),
        Task(number("orange"), "red", "a red orange"),
        Task(number("mug"), "blue", "a blue mug"),
    ]
    nouns = torch.full((3, 4), -9.0)
    nouns[0, number("chair")] = nouns[1, number("mug")] = nouns[2, number("mug")] = (
        0  # a chair is right for an armchair
    )
    sectors = torch.full((3, SECTORS), -30.0)
    sectors[:, 1] = 0
    images = torch.full((3, 3, 16, 16), 0.9)
    images[1:, :, 4:12, 4:12] = torch.tensor((0.85, 0.08, 0.08))[:, None, None]
    azimuth = torch.tensor([50.0, 0, -100]).deg2rad()
    marks = evaluate.marked(Verdict(nouns, sectors), images, tasks, azimuth, LEXICON)
    assert marks.rank.tolist() == [0, 1, 0]
    assert marks.off[[0, 2]].rad2deg().tolist() == pytest.approx([5, 145], abs=0.1)
    assert marks.off[1].isnan()  # an orange has no front
    assert marks.colour[0].isnan()
    assert marks.colour[1] < 1
    assert marks.colour[2] > 40
    assert marks.scores.noun_first == pytest.approx(2 / 3)
    assert marks.scores.facing == 0.5
    assert evaluate.remarks(tasks, Verdict(nouns, sectors), marks, LEXICON) == [
        ("an armchair", "right, 5°"),
        ("a red orange", f"mug (2), {marks.colour[1]:.0f}"),
        ("a blue mug", f"right, 145°, {marks.colour[2]:.0f}"),
    ]


def test_scores_are_means_over_what_was_asked_for_the_like() -> None:
    rank, nan = torch.tensor([0, 4, 5, 90]), math.nan
    off = torch.tensor([44.0, nan, 46, nan]).deg2rad()
    assert Marks(rank, off, torch.tensor([nan, 8.0, nan, 12.0])).scores == Scores(0.25, 0.5, 0.5, 10.0)


def test_the_table_has_a_row_for_every_score() -> None:
    lines = evaluate.table(SCORES).splitlines()
    assert len(lines) == 2 + len(dataclasses.fields(Scores))
    assert [line.rsplit(" | ", 1)[1] for line in lines[2:]] == ["70.0 % |", "87.5 % |", "90.0 % |", "9.9 |"]


def test_the_exam_is_about_what_was_kept_from_the_judge(pool: Pool, lexicon: Lexicon) -> None:
    class Knowing(Judge):
        """Knows the nouns of some pictures and the azimuth of all, whatever it is shown."""

        def forward(self, images: torch.Tensor) -> Verdict:
            index, self.asked = self.asked[: len(images)], self.asked[len(images) :]
            nouns = torch.tensor([lexicon.numbers[pool.entries[i].noun] for i in pool.entry[index].tolist()])
            wrong = torch.arange(len(index)) % 4 == 0  # of each object's views, two
            rows = torch.eye(3)[torch.where(wrong, (nouns + 1) % 3, nouns)]
            sectors = (pool.cameras.azimuth[index] * SECTORS / (2 * math.pi)).round().long() % SECTORS
            return Verdict(rows.log_softmax(-1), (50 * torch.eye(SECTORS)[sectors]).log_softmax(-1))

    net, split = Knowing(lexicon).eval(), Split.of(pool)
    net.asked = torch.cat([split.new_views.repeat(2), split.new_objects.repeat(2)])
    exams = evaluate.examine_judge(net, pool)
    assert [*exams] == [f"new {what}, {how}" for what in ("views", "objects") for how in ("textured", "untextured")]
    assert set(exams.values()) == {Exam(0.75, 1.0, 1.0, 1.0, 1.0)}
    assert len(net.asked) == 0
    lines = evaluate.exam_table(exams).splitlines()
    assert lines[2] == "| new views, textured | 75.0 % | 100.0 % | 100.0 % | 100.0 % | 100.0 % |"
    assert f"{EXAM_VIEWS} views" in lines[0]


def test_the_card_is_rewritten_between_its_marks_only(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_text("before\n<!-- scores -->\noutdated\n<!-- /scores -->\nafter\n")
    for _ in range(2):
        evaluate.write_card(tmp_path, SCORES, evaluate.table(SCORES))
    text = card.read_text()
    assert text.startswith("before\n<!-- scores -->\n| samples")
    assert text.endswith("<!-- /scores -->\nafter\n")
    assert "outdated" not in text


def test_a_model_without_a_card_keeps_no_scores(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no card"):
        evaluate.write_card(tmp_path, SCORES, "")
    assert not [*tmp_path.iterdir()]


def test_a_model_is_examined_and_its_samples_can_be_looked_at(tmp_path: Path) -> None:
    tiny = Architecture(channels=(16, 16, 16, 16), heads=1, text_width=16, text_layers=1)
    model.save(network.build(32, LEXICON.words, tiny, seed=0), tmp_path / "model")
    judge.save(Judge(LEXICON), tmp_path / "judge")
    sheet = tmp_path / "sheet.png"
    folders = ["--model", str(tmp_path / "model"), "--judge", str(tmp_path / "judge")]
    result = CliRunner().invoke(evaluate.main, [*folders, "--samples", "4", "--sheet", str(sheet)])
    assert result.exit_code == 0, result.output
    assert "| right noun first | " in result.output
    with Image.open(sheet) as image:
        assert image.size == (16 * 64, 64 + 2 * 13 + 3)


def test_a_model_without_a_judge_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(evaluate.main, ["--model", str(tmp_path)])
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert "holds no model" in result.output
