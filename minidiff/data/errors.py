"""The one error of this room. Missing files keep the names that Python has for them (FileNotFoundError, ...)."""


class DataError(ValueError):
    """A file is there, but what it holds cannot be used: damaged, of the wrong kind, or at odds with another file."""
