"""The API pages' view of the sources: public names as users write them, examples with their code highlighted."""

from typing import Any

from griffe import Alias, Extension, GriffeLoader, Module, Object


class ExampleSections(Extension):
    """Renames the section `Example:`, which the parser knows as `Examples:`, while the sources are read."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Called for every module, function, class and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")


class PublicNames(Extension):
    """Makes `jaxae.bottlenecks.fsq` the function that the room exports, as at run time, not the file of that name."""

    def on_package(self, *, pkg: Module, loader: GriffeLoader, **kwargs: Any) -> None:
        """Called when the whole package has been read."""
        modules = {module.path: module for module in _walk(pkg)}
        # all targets first: what is put in the place of a file hides the file's own members
        exported = [
            (module, str(name), _target(modules, module, str(name)))
            for module in modules.values()
            for name in module.exports or ()
        ]
        for module, name, target in exported:
            if target is not module.members.get(name):
                module.set_member(name, Alias(name, target, parent=module))


def _walk(module: Module):
    yield module
    for member in list(module.members.values()):
        if isinstance(member, Module):
            yield from _walk(member)


def _target(modules: dict[str, Module], module: Module, name: str) -> Object:
    """The object that a module's name stands for, through any number of imports."""
    path = module.imports.get(name)
    if path is None or path == f"{module.path}.{name}":  # defined here, or a file of this folder
        return module.members[name]
    parent, _, last = path.rpartition(".")
    if parent not in modules:
        return modules[path]
    return _target(modules, modules[parent], last)
