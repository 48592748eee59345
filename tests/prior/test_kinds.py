import gzip

import pytest

from backend.prior import make_kinds
from backend.prior.kinds import TABLE, Kinds, kinds

DATA = """\
  1 A line of the licence.
00000001 03 n 01 entity 0 000 | all there is
00000002 03 n 01 thing 0 001 @ 00000001 n 0000 | a thing
00000003 03 n 01 being 0 001 @ 00000002 n 0000 | a being
00000004 03 n 02 animal 0 beast 0 001 @ 00000003 n 0000 | a living being
00000005 05 n 01 feline 0 001 @ 00000004 n 0000 | of the cats
00000006 05 n 02 cat 0 true_cat 0 001 @ 00000005 n 0000 | purrs
00000007 05 n 02 puma 0 Felis_concolor 0 001 @ 00000005 n 0000 | does not
00000008 18 n 01 cat 1 001 @ 00000003 n 0000 | a spiteful gossip
00000009 05 n 02 young 0 offspring 0 001 @ 00000004 n 0000 | not yet grown
00000010 05 n 01 kitten 0 001 @ 00000009 n 0000 | young cat
00000011 04 n 01 puma 1 001 @ 00000001 n 0000 | an act
"""
INDEX = """\
  1 A line of the licence.
animal n 1 1 @ 1 1 00000004
beast n 1 1 @ 1 1 00000004
being n 1 1 @ 1 1 00000003
cat n 2 1 @ 2 2 00000008 00000006
entity n 1 0 1 1 00000001
feline n 1 1 @ 1 1 00000005
felis_concolor n 1 1 @ 1 1 00000007
kitten n 1 1 @ 1 1 00000010
offspring n 1 1 @ 1 1 00000009
puma n 2 1 @ 2 2 00000011 00000007
thing n 1 1 @ 1 1 00000002
true_cat n 1 1 @ 1 1 00000006
young n 1 1 @ 1 1 00000009
"""


def test_the_table_holds_what_can_be_seen_each_after_its_kinds() -> None:
    assert make_kinds.table(DATA, INDEX).splitlines() == [
        "entity\t",
        "thing\t0",
        "being\t1",
        "animal,beast\t2",
        "feline\t3",
        "cat,true cat\t4",  # a gossip is no cat
        "puma\t4",  # and an act cannot be seen
        "offspring,young\t3",
        "kitten\t5",  # as its gloss says
    ]


@pytest.fixture
def small() -> Kinds:
    return Kinds.parsed(make_kinds.table(DATA, INDEX))


def test_a_name_means_what_its_last_words_mean(small: Kinds) -> None:
    assert small.meant("cats") == small.meant("cat") == small.head("a big cat with a hat") == (5,)
    assert small.meant("hat") == small.head("hat") == ()


def test_steps_lead_to_all_kinds_above(small: Kinds) -> None:
    assert small.steps(6) == {6: 0, 4: 1, 3: 2, 2: 3, 1: 4, 0: 5}


def test_a_sense_that_other_names_speak_for_is_meant() -> None:
    # Line 3 is a mouse to click, line 4 one that is caught.
    found = Kinds.parsed("thing\t\ndevice\t0\nanimal,creature\t0\nmouse\t1\n~mouse,rodent\t2\n")
    assert found.meant("mouse") == (3, 4)
    assert found.sense(["mouse"]) == 3
    assert found.sense(["mouse", "rodent"]) == found.sense(["mouse", "animal"]) == 4
    assert found.sense(["gizmo"]) is None


def test_what_shares_a_rarer_kind_is_nearer() -> None:
    names = ("cat", "dog", "salmon", "chair")
    things = [kinds().sense([name]) for name in names]
    (puma, *_), (stool, *_) = kinds().meant("puma"), kinds().meant("stool")
    assert [names[place] for place in kinds().nearest(puma, things)] == ["cat", "dog", "salmon"]
    assert names[kinds().nearest(stool, things)[0]] == "chair"


def test_the_table_that_ships_is_small_and_says_whose_it_is() -> None:
    assert TABLE.stat().st_size < 320_000
    assert len(gzip.decompress(TABLE.read_bytes()).splitlines()) > 30_000
    assert "Copyright 2006 by Princeton University" in (TABLE.parent / "LICENSE").read_text()
