"""One tree of errors. Each message says what was expected, what was found, and how to mend it.

Outcomes of trials are values, not errors: a script that crashes, hangs or cheats gets a verdict.
"""


class AutoResearchError(Exception):
    """Base of all errors this package raises on purpose. `exit_code` is what the command line returns."""

    exit_code = 1


class ConfigurationError(AutoResearchError, ValueError):
    """The request itself is wrong: an unknown task, a bad option, a setting that contradicts the study."""

    exit_code = 2


class TaskError(ConfigurationError):
    """A task folder is missing, incomplete or inconsistent."""


class BaselineFailed(AutoResearchError, RuntimeError):
    """The script that a study starts from does not run, so there is nothing to compare with."""


class SourceError(AutoResearchError, RuntimeError):
    """The text for a corpus cannot be downloaded or read."""


class EditError(AutoResearchError, ValueError):
    """An edit does not fit the script it was applied to."""


class SandboxError(AutoResearchError, RuntimeError):
    """No usable sandbox, or the sandbox failed before any untrusted code ran."""


class EnvironmentChanged(AutoResearchError, RuntimeError):
    """A frozen file or the corpus differs from what the study started with."""


class StorageError(AutoResearchError, RuntimeError):
    """The database or the study folder cannot be read or written."""


class StudyBusy(StorageError):
    """Another process is running this study."""
