"""What stops a build."""


class BuildError(Exception):
    """One line: what is wrong, and what to do."""
