import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.names import NAME_BYTES, named, words


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("a red mug", "Red Mug"),
        ("  The striped   red hat ", "Striped Red Hat"),
        ("a kid's toy", "Kid's Toy"),
        ("a TV", "TV"),
        ("ein Hut für Mädchen", "Ein Hut Für Mädchen"),
        ("赤い帽子", "赤い帽子"),
        ("a hat \N{TOP HAT} and a cane", "Hat \N{TOP HAT} And Cane"),
        ('a "red/blue" box: <big>, 50% off?', "Red Blue Box Big , 50% Off"),
        ("c:\\hat.png", "C Hat Png"),
        ("a hat.", "Hat"),
        ("a hat\x00\twith\na bell", "Hat With Bell"),
        ("", "Object"),
        ("the", "Object"),
        ("?!/.", "!"),
        ("...", "Object"),
        ("nul", "Nul Object"),
        ("a com1", "Com1 Object"),
        ("a console", "Console"),
        ("a \udcff hat", "Hat"),
    ],
)
def test_an_object_is_called_after_its_prompt(prompt: str, name: str) -> None:
    assert named(prompt) == name


def test_a_name_leaves_room_for_a_number() -> None:
    assert named("x" * 300) == "X" + "x" * (NAME_BYTES - 1)
    assert named("帽" * 100) == "帽" * (NAME_BYTES // 3), "no character is cut in two"
    assert named("x" * (NAME_BYTES - 1) + " hat") == "X" + "x" * (NAME_BYTES - 2), "nor does it end in a space"


@given(st.text(max_size=300))
def test_every_name_is_one_that_file_systems_take(prompt: str) -> None:
    name = named(prompt)
    assert 0 < len(name.encode()) <= NAME_BYTES
    assert name == name.strip()
    assert not set(name) & {*'<>:"/\\|?*.', *map(chr, range(32))}


def test_articles_say_nothing() -> None:
    assert words("The cat and a hat") == ["cat", "and", "hat"]
