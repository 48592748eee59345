"""What a model can be asked for, in groups that a person can look through."""

from collections.abc import Mapping
from dataclasses import dataclass

MATERIAL_WORDS = (
    *("bamboo", "brass", "brick", "bronze", "burlap", "canvas", "cardboard", "ceramic", "clay", "cloth", "concrete"),
    *("copper", "cotton", "denim", "earthenware", "fabric", "foam", "fur", "glass", "gold", "golden"),
    *("granite", "iron", "leather", "marble", "metal", "metallic", "paper", "plastic", "plush", "plywood"),
    *("porcelain", "rattan", "rubber", "silver", "slate", "stainless", "steel", "stone", "straw", "styrofoam", "teak"),
    *("terracotta", "tin", "velvet", "wax", "wicker", "wire", "wood", "wooden", "wool", "woven"),
)
"""Words that say what a thing is made of, as far as catalogues have them."""


@dataclass(frozen=True)
class Listing:
    """objects: for each group of kinds, the names of each kind, its usual one first. names: all of these, those of the
    kinds that most objects were of first. others: words of descriptions that are none of these.
    """

    objects: Mapping[str, tuple[tuple[str, ...], ...]]
    names: tuple[str, ...]
    colours: tuple[str, ...]
    patterns: tuple[str, ...]
    materials: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
