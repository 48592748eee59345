"""The libraries, kept from talking to the artist."""

from collections.abc import Iterator
from contextlib import contextmanager

import diffusers
import transformers


@contextmanager
def quiet() -> Iterator[None]:
    """Neither progress bars nor advice from the libraries."""
    libraries = (transformers.utils.logging, diffusers.utils.logging)
    before = [(library.get_verbosity(), library.is_progress_bar_enabled()) for library in libraries]
    for library in libraries:
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, (verbosity, bars) in zip(libraries, before, strict=True):
            library.set_verbosity(verbosity)
            if bars:
                library.enable_progress_bar()
