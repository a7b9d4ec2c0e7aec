"""The API pages' view of docstrings: an `Example:` is the parser's `Examples:` section, with its code highlighted."""

from typing import Any

from griffe import Extension, Object


class ExampleSections(Extension):
    """Renames the section while the sources are read."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Called for every module, function, class and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
