"""The words that one model knows: a file that clients fetch once, as it is too long for the answer to every HELLO."""

import json
from dataclasses import dataclass

from . import wire
from .errors import ProtocolError
from .limits import KNOWN_WORDS, NAME_CHARACTERS
from .records import Record, checked, each, from_json, to_json


def _word(value: str) -> bool:
    return 1 <= len(value) <= NAME_CHARACTERS and value.isprintable()


@dataclass(frozen=True)
class Words(Record):
    """All that a model can be asked for.

    names: of objects, in one word or several; those that it knows best first. adjectives: colours, patterns and
    materials. others: words that it was taught in descriptions.
    """

    names: tuple[str, ...] = checked(each(_word, KNOWN_WORDS))
    adjectives: tuple[str, ...] = checked(each(_word, KNOWN_WORDS))
    others: tuple[str, ...] = checked(each(_word, KNOWN_WORDS))

    def pack(self) -> bytes:
        """The file."""
        return json.dumps(to_json(self), ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def unpack(cls, content: bytes) -> "Words":
        """What `pack` made a file of. Raises ProtocolError, and nothing else, whatever the bytes are."""
        try:
            return from_json(cls, wire.parsed(content))
        except ValueError as error:
            raise ProtocolError(f"these are no words: {error}") from error
