"""The words of models, as files that clients fetch. Nothing here imports torch."""

import hashlib
import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from backend.prior import words
from backend.prior.words import Stamp
from shared.assets import Asset
from shared.limits import WORDS_BYTES
from shared.words import Words

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WordList:
    """A file, and what an offer says of it."""

    asset: Asset
    content: bytes


def of(folder: Path) -> WordList | None:
    """The words of the model in `folder`; None if it has none, or more than clients take. Raises UserError for
    damaged ones. Made again only when they have changed."""
    return _made(folder, words.stamp(folder))


@lru_cache(maxsize=64)
def _made(folder: Path, stamp: Stamp) -> WordList | None:
    known = words.of(folder)
    if known is None:
        return None
    listing = known.listing
    try:
        content = Words(listing.names, (*listing.colours, *listing.patterns, *listing.materials), listing.others).pack()
        if len(content) > WORDS_BYTES:
            raise ValueError(f"they take {len(content)} bytes")
    except ValueError as error:
        logger.warning("the words of the model in %s are not offered: %s", folder, error)
        return None
    digest = hashlib.sha256(content).hexdigest()
    return WordList(Asset("words.json", digest, len(content)), content)
