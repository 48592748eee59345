"""Words for colours and patterns, each with its synonyms. Nothing here imports torch: the server knows them, too."""


def by_the_first(*words: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The words of each thing, by its usual one, which comes first."""
    return {synonyms[0]: synonyms for synonyms in words}


COLOUR_WORDS = by_the_first(
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
"""For each of `materials.COLOURS`, in its order: its name, which is the usual word, and all words for it."""

PATTERN_WORDS = by_the_first(
    ("striped", "stripy"),
    ("spotted", "dotted"),
    ("checkered", "chequered", "checked"),
)
"""The same for `materials.PATTERNS`."""
