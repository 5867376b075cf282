"""Every error that PRISM Studio raises on purpose.

One base class, so that the UI and the command line can tell a mistake they should explain from a
defect they should not hide. Each subclass also inherits the fitting standard error, so that code
which knows only Python's own exceptions still catches it.
"""


class PrismError(Exception):
    """Base of all errors whose message is written for the person who made the mistake."""


class InputError(PrismError, ValueError):
    """A value that a person gave is not allowed; the message quotes it and says what is."""


class NotFoundError(PrismError, LookupError):
    """A named persona, model, adapter, run or data set does not exist."""


class ModelError(PrismError, RuntimeError):
    """A model could not be fetched, read or used."""


class RemoteError(ModelError):
    """A remote endpoint refused, failed or did not answer."""


class StorageError(PrismError, OSError):
    """The store or a run's folder could not be read or written."""


class CancelledError(PrismError, RuntimeError):
    """Work stopped because a person asked it to stop."""


class StatisticsError(PrismError, ValueError):
    """A number was asked for that the data at hand cannot define."""
