"""What went wrong, said to the person who can mend it."""


class UserError(Exception):
    """One sentence that says what is wrong and what to do about it; shown without a traceback."""
