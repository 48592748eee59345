"""What went wrong, said to the person who can mend it."""


class UserError(Exception):
    """One sentence that says what is wrong and what to do about it; shown without a traceback."""


class OutOfMemoryError(UserError):
    """The device has too little memory for what is asked for."""


class DiskFullError(UserError):
    """The disk has too little room."""


class UnwritableError(UserError):
    """A folder or file cannot be written, for another reason than a full disk."""


class NotFiniteError(UserError):
    """The numbers of an optimisation left all bounds, again and again."""


class OtherRunError(UserError):
    """A folder holds a checkpoint of another run: other settings, or other versions of the program."""
