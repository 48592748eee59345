"""What an object is called: alike in Blender and in files, of which its texture is one."""

import re

NAME_BYTES = 58
"""Blender 4.5 keeps 63 bytes of a name, of which a number that tells it from others takes five."""

_REFUSED = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*.]')
"""What Windows refuses in the name of a file; the dot, which is fine there, ends a name for some exporters."""

_DEVICE = re.compile("con|prn|aux|nul|(com|lpt)[0-9]", re.IGNORECASE)
"""What Windows takes for a device, whatever comes behind the dot."""


def named(prompt: str) -> str:
    """What the object of a prompt is called: "Red Mug" for "a red mug". With any ending it is the name of a file."""
    title = " ".join(word[0].upper() + word[1:] for word in words(_REFUSED.sub(" ", prompt)))
    short = title.encode(errors="ignore")[:NAME_BYTES].decode(errors="ignore").strip()
    return f"{short} Object".lstrip() if not short or _DEVICE.fullmatch(short) else short


def words(prompt: str) -> list[str]:
    """The words of a prompt that say something."""
    return [word for word in prompt.split() if word.lower() not in {"a", "an", "the"}]
