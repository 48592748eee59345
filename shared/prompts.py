"""What artists type and paste: which of its characters are text."""

import re
import unicodedata

_INVISIBLE = re.compile(
    # Unicode's Default_Ignorable_Code_Point and the marks of annotations. Not among them: the joiners U+200C and U+200D
    # and the variation selectors, without which Persian, Hindi and emoji of several parts are other words.
    r"(\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f)|"  # the flags of England and the like: tags belong to them
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0"
    r"\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff]"
)


def tidied(text: str) -> str:
    """`text` without characters that nobody sees, and with single spaces for all white space."""
    return " ".join(_INVISIBLE.sub(r"\1", text).split())


def control_character(text: str) -> str:
    """The first control character in `text`, such as "U+0007 (BELL)"; "" if there is none."""
    found = next((letter for letter in text if unicodedata.category(letter) == "Cc"), None)
    if found is None:
        return ""
    # Control characters have no names, but those of ASCII have symbols in the block at U+2400, in their order.
    symbol = "\u2421" if found == "\x7f" else chr(0x2400 + ord(found))
    name = unicodedata.name(symbol).removeprefix("SYMBOL FOR ") if found.isascii() else "no name"
    return f"U+{ord(found):04X} ({name})"


def is_unicode(text: str) -> bool:
    """Whether `text` can be sent and stored. Letters that a terminal's locale does not know come as half surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)
