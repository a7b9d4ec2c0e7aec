"""Parts of somebody else's by name: `package.module:function`, found on the Python path."""

import importlib
from collections.abc import Callable
from typing import Any

from jaxae.files.messages import shown


def is_own(name: object) -> bool:
    """Whether a name stands for a function of somebody else's: it has a colon.

    Example:
      >>> from jaxae.recipes.user_parts import is_own
      >>> is_own("my_models:wide"), is_own("vae")
      (True, False)
    """
    return isinstance(name, str) and ":" in name


def own_function(name: str) -> Callable:
    """The function that `package.module:function` names.

    The module is imported from the Python path as it is: nothing is loaded from a run's folder or from the folder that
    a command is called in, unless the path names it (`PYTHONPATH=. jaxae ...`).

    Raises:
      ValueError: no such module or function, a module that fails while it is imported, or something that cannot be
        called.

    Example:
      >>> from jaxae.recipes.user_parts import own_function
      >>> own_function("math:sqrt")(9.0)
      3.0
    """
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise ValueError(f"{shown(name)} names no function: give package.module:function")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and not module_name.startswith(error.name):
            raise ValueError(f"{name}: {module_name} needs {error.name}, which is not installed") from error
        raise ValueError(
            f"{name}: there is no module {module_name} on the Python path (PYTHONPATH=FOLDER adds a folder to it)"
        ) from None
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        raise ValueError(f"{name}: {module_name} cannot be imported: {type(error).__name__}: {first}") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise ValueError(f"{name}: {module_name} has no function {function_name}")
    return function


def called(name: str, kind: type | tuple[type, ...], *arguments: Any, **keywords: Any) -> Any:
    """What an own function returns, which must be of the kind that it stands for.

    Raises:
      ValueError: as `own_function`; the function raises, or returns something else.

    Example:
      >>> from jaxae.recipes.user_parts import called
      >>> called("math:sqrt", float, 9.0)
      3.0
    """
    function = own_function(name)
    try:
        made = function(*arguments, **keywords)
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        raise ValueError(f"{name} failed: {type(error).__name__}: {first}") from error
    if not isinstance(made, kind):
        wanted = " or ".join(each.__name__ for each in (kind if isinstance(kind, tuple) else (kind,)))
        raise ValueError(f"{name} returned {type(made).__name__}, where {wanted} is needed")
    return made
