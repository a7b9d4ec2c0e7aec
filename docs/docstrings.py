"""The API pages' view of the sources: public names as users write them, examples with their code highlighted."""

from collections.abc import Iterator
from typing import Any

from griffe import Alias, Docstring, Extension, GriffeLoader, Module, Object


class PublicFace(Extension):
    """`jaxae.bottlenecks.fsq` is the function that the room exports, as at run time, not the file of that name."""

    def on_package(self, *, pkg: Module, loader: GriffeLoader, **kwargs: Any) -> None:
        """Called when the whole package has been read."""
        objects = list(_walk(pkg))
        for obj in objects:
            if obj.docstring is not None:  # the parser knows the section in the plural alone
                obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
            elif obj.name == "__call__":  # a protocol's signature: what has no docstring is not shown
                obj.docstring = Docstring("The call.", parent=obj)
        modules = {obj.path: obj for obj in objects if isinstance(obj, Module)}
        # all targets first: what takes the place of a file hides the file's own members
        exported = [
            (module, str(name), _target(modules, module, str(name)))
            for module in modules.values()
            for name in module.exports or ()
        ]
        for module, name, target in exported:
            if target is not module.members.get(name):
                module.set_member(name, Alias(name, target, parent=module))


def _walk(obj: Object) -> Iterator[Object]:
    yield obj
    for member in list(obj.members.values()):
        if isinstance(member, Object):  # an alias is walked where it is defined
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
