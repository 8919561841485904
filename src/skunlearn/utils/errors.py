"""The errors that a user can mend, as a tree.

    SkunlearnError          one line for the user, exit code 2
      ConfigError           an option: unknown, of the wrong type, out of range
      DataError             a data file, a column, a row
      ModelError            a model, a tokenizer, a template, a task vector that does not fit
      TrainingError         the numbers went wrong in training
      RunError              a run folder that cannot be used

Every message says what is wrong, where, and what to do next. Any other exception is a bug in
skunlearn and shows its traceback.
"""


class SkunlearnError(Exception):
    """The root of all errors that a user can mend."""


class ConfigError(SkunlearnError):
    """An option is unknown, of the wrong type or out of range."""


class DataError(SkunlearnError):
    """A data file, a column or a row cannot be used."""


class ModelError(SkunlearnError):
    """A model, tokenizer, template or task vector cannot be used."""


class TrainingError(SkunlearnError):
    """Training produced numbers that cannot be used."""


class RunError(SkunlearnError):
    """A run folder cannot be used."""
