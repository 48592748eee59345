"""Captions: the sentences under the training pictures, and the words they are made of.

The vocabulary of a model is read off the same tables, so what it claims to know and what it was
trained on cannot drift apart. Nothing here imports torch: the server knows the words, too.
"""

import re
from dataclasses import dataclass
from random import Random

from backend.engine.names import View


def _by_the_first(*words: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    return {synonyms[0]: synonyms for synonyms in words}


OBJECT_WORDS = _by_the_first(
    ("sphere", "ball", "orb"),
    ("cube", "box", "block"),
    ("cone",),
    ("cylinder", "tube"),
    ("donut", "doughnut", "torus", "ring"),
    ("mug", "cup"),
    ("bowl", "dish"),
    ("table", "desk"),
    ("chair", "seat"),
    ("lamp",),
    ("mushroom", "toadstool"),
    ("snowman",),
    ("tree", "pine", "fir"),
    ("rocket", "spaceship"),
    ("house", "cottage", "hut"),
    ("car", "automobile"),
    ("hat",),
    ("hammer", "mallet"),
    ("dumbbell", "barbell"),
    ("duck",),
    ("robot",),
    ("boat", "sailboat", "ship"),
)
"""For each object of `shapes.SHAPES`, in its order: its name, which is the usual word, and all words for it."""

COLOUR_WORDS = _by_the_first(
    ("red",),
    ("orange",),
    ("yellow",),
    ("green",),
    ("turquoise", "cyan", "teal"),
    ("blue",),
    ("purple", "violet"),
    ("pink",),
    ("brown",),
    ("white",),
    ("gray", "grey"),
    ("black",),
)
"""The same for `materials.COLOURS`."""

PATTERN_WORDS = _by_the_first(
    ("striped", "stripy"),
    ("spotted", "dotted"),
    ("checkered", "chequered", "checked"),
)
"""The same for `materials.PATTERNS`."""

VIEW_PHRASES: dict[View, tuple[str, ...]] = {
    "front": ("front view", "from the front"),
    "side": ("side view", "from the side"),
    "back": ("back view", "from behind"),
    "above": ("overhead view", "from above", "top view"),
}

_TEMPLATES = (
    "{article} {adjectives} {object}",
    "{article} {adjectives} {object}",
    "{adjectives} {object}",
    "the {adjectives} {object}",
    "{object}, {listed}",
    "a photo of {article} {adjectives} {object}",
    "a 3d model of {article} {adjectives} {object}",
    "{article} {object} that is {listed}",
    "{article} simple {adjectives} {object}",
)
_TEMPLATES_BARE = ("{article} {object}", "{object}", "the {object}", "a 3d model of {article} {object}")


@dataclass(frozen=True)
class Subject:
    """What a picture shows: names out of OBJECT_WORDS, COLOUR_WORDS and PATTERN_WORDS. No colour: not told."""

    shape: str
    colour: str | None = None
    pattern: str | None = None


def caption(subject: Subject, view: View | None, random: Random) -> str:
    """A sentence for a picture of `subject`: words, order and view phrase are drawn from `random`."""
    noun = _usually_first(OBJECT_WORDS[subject.shape], random)
    adjectives = []
    if subject.pattern:
        adjectives.append(_usually_first(PATTERN_WORDS[subject.pattern], random))
    if subject.colour:
        adjectives.append(_usually_first(COLOUR_WORDS[subject.colour], random))
    template = random.choice(_TEMPLATES if adjectives else _TEMPLATES_BARE)
    text = template.format(
        object=noun,
        adjectives=" ".join(adjectives),
        listed=", ".join(reversed(adjectives)),
        article="{article}",
    )
    text = with_articles(text)
    if view is None:
        return text
    phrase = random.choice(VIEW_PHRASES[view])
    if phrase.startswith("from"):
        return random.choice((f"{text}, {phrase}", f"{text} seen {phrase}", f"{text}, seen {phrase}"))
    return random.choice((f"{text}, {phrase}", f"{text}, {phrase}", f"{phrase} of {text}"))


def _usually_first(words: tuple[str, ...], random: Random) -> str:
    return words[0] if random.random() < 0.6 else random.choice(words)


def with_articles(text: str) -> str:
    """The text with every "{article}" turned into "a" or "an"."""
    return re.sub(r"\{article\} (\w)", lambda m: f"{'an' if m[1] in 'aeio' else 'a'} {m[1]}", text)


def example_prompts() -> list[str]:
    """One prompt per object, going through the colours: what sample sheets show."""
    return every_caption()[: len(OBJECT_WORDS)]


def every_caption() -> list[str]:
    """Every object in every colour. Wherever the list is cut, objects and colours are mixed."""
    colours = list(COLOUR_WORDS)
    rounds = range(len(colours))
    named = ((colours[(5 * i + shift) % len(colours)], name) for shift in rounds for i, name in enumerate(OBJECT_WORDS))
    return [with_articles(f"{{article}} {colour} {name}") for colour, name in named]


def all_words() -> list[str]:
    """Every word and punctuation mark that a caption can hold, sorted."""
    phrases = [phrase for phrases in VIEW_PHRASES.values() for phrase in phrases]
    tables = (OBJECT_WORDS, COLOUR_WORDS, PATTERN_WORDS)
    names = [word for table in tables for words in table.values() for word in words]
    return sorted({word for text in (*phrases, *names, *_TEMPLATES, "an seen") for word in words_of(_plain(text))})


def _plain(template: str) -> str:
    return re.sub(r"\{\w+\}", "a", template)


def words_of(text: str) -> list[str]:
    """The words of a prompt as the tokenizer sees them: lower case, punctuation apart."""
    return re.findall(r"\w+|[^\w\s]", text.lower())
