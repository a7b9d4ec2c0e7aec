"""Parts of error messages: whatever a user gave, a message stays one line of bounded length."""

import reprlib
from collections.abc import Iterable
from typing import Any

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxtuple, _SHORT.maxdict, _SHORT.maxset = 2, 4, 4, 4, 4
_SHORT.maxstring, _SHORT.maxother, _SHORT.maxlong = 60, 60, 40


def shown(value: Any, most: int = 60) -> str:
    """What a user gave, in at most `most` characters of one line.

    An array with axes is shown by its dtype and shape, a class, a function or a part by its name.

    Example:
      >>> import numpy as np
      >>> from jaxae.files.messages import shown
      >>> shown("adam"), shown(np.zeros((2, 3), np.float32)), shown([0.5] * 9000)
      ("'adam'", 'float32[2, 3]', '[0.5, 0.5, 0.5, 0.5, ...]')
    """
    if isinstance(value, type):
        text = f"the class {value.__name__}"
    elif hasattr(value, "_fields"):
        text = f"a {type(value).__name__}"
    elif callable(value):
        text = f"the function {getattr(value, '__name__', type(value).__name__)}"
    elif getattr(value, "ndim", 0) and hasattr(value, "dtype"):
        text = f"{value.dtype}[{', '.join(map(str, value.shape))}]"
    else:
        text = " ".join(_SHORT.repr(value).split())
    return text if len(text) <= most else text[: most - 3] + "..."


def number_shown(value: float | int) -> str:
    """A limit as a message shows it: whole numbers in full.

    Example:
      >>> from jaxae.files.messages import number_shown
      >>> number_shown(1_000_000), number_shown(1e-30)
      ('1000000', '1e-30')
    """
    return str(value) if isinstance(value, int) else f"{value:g}"


def listed(names: Iterable[Any], most: int = 8) -> str:
    """Names, comma between, the first `most` of them and how many more there are.

    Example:
      >>> from jaxae.files.messages import listed
      >>> listed("abc"), listed(range(9000), 3), listed(())
      ('a, b, c', '0, 1, 2 and 8997 more', 'none')
    """
    texts = [str(name) if len(str(name)) <= 60 else str(name)[:57] + "..." for name in names]
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more or "none"


def first_line(error: BaseException, most: int = 200) -> str:
    """The first line of what an error says, or its type where it says nothing.

    Example:
      >>> from jaxae.files.messages import first_line
      >>> first_line(ValueError("no such key\\nsee the log")), first_line(KeyError())
      ('no such key', 'KeyError')
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:most]
