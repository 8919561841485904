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


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out, on a GPU or on the CPU.

    torch has a class of its own for a GPU, and a plain `RuntimeError` for the CPU. They are told by
    name and by text, so that torch need not be imported.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "DefaultCPUAllocator" in text or "can't allocate memory" in text
    )
