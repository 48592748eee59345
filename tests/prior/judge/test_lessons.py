import torch

from backend.prior.catalogue import Entry
from backend.prior.judge import SECTORS
from backend.prior.judge_training import JudgeTraining
from backend.prior.lessons import Lessons, Split, noun_targets, sector_targets
from backend.prior.lexicon import Lexicon
from backend.prior.pool import Pool


def test_some_views_and_some_objects_are_kept_for_the_exam(pool: Pool) -> None:
    split = Split.of(pool)
    assert sorted([*split.taught.tolist(), *split.new_views.tolist()]) == [*range(48), *range(64, 96)]
    assert split.new_views.tolist()[:9] == [*range(8, 16), 24]
    assert split.new_objects.tolist() == [*range(56, 64)]  # of the fourth bar


def test_an_answer_is_the_noun_and_a_little_of_what_else_is_right() -> None:
    lexicon = Lexicon.of([Entry("0", "armchair", ("chair",)), Entry("1", "chair"), Entry("2", "mug")])
    torch.testing.assert_close(
        noun_targets(lexicon, own=0.8),
        torch.tensor([[0.9, 0.1, 0], [0.1, 0.9, 0], [0, 0, 1]]),
    )


def test_a_camera_between_two_sectors_is_in_both() -> None:
    targets = sector_targets(torch.tensor([0.0, 45, 67.5, -11.25]).deg2rad())
    expected = torch.zeros(4, SECTORS)
    expected[0, 0] = expected[1, 1] = 1
    expected[2, 1] = expected[2, 2] = 0.5
    expected[3, 0], expected[3, 7] = 0.75, 0.25
    torch.testing.assert_close(targets, expected, atol=1e-5, rtol=0)


def test_lessons_show_only_what_is_taught_mirrored_with_their_answers(pool: Pool, lexicon: Lexicon) -> None:
    generator = torch.Generator().manual_seed(0)
    lessons = Lessons(JudgeTraining(batch=200), pool, lexicon, generator)
    images, nouns, sectors, facing = lessons.draw(small=False)
    assert images.shape == (200, 3, 16, 16)
    torch.testing.assert_close(nouns.sum(1), torch.ones(200))
    torch.testing.assert_close(sectors.sum(1), torch.ones(200))
    plate = nouns.argmax(1) == lexicon.numbers["plate"]
    assert (facing[plate] == 0).all()
    assert (facing[nouns.argmax(1) == lexicon.numbers["post"]] == 1).all()
    # Three bars are taught: a noun of three objects is shown more often than one of one, but not three times.
    assert 1.2 < (nouns.argmax(1) == lexicon.numbers["bar"]).sum() / plate.sum() < 2.6
