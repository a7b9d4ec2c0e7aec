"""Ctrl-C, SIGTERM and SIGHUP end a command alike: what is being written is finished, one line, its exit code.

Handlers exist while a command runs, and never in a program that only imports jaxae.
"""

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator

# seconds from the signal to the end, of which the line above takes the rest
GRACE = 9.0
NUMBERS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Stopped(KeyboardInterrupt):
    """A signal has come; `number` says which."""

    def __init__(self, number: int = signal.SIGINT):
        super().__init__()
        self.number = number


@contextlib.contextmanager
def stopping(last_words: Callable[[], str]) -> Iterator[Callable[[], None]]:
    """Raise `Stopped` in the main thread at the first signal; end the process at the second, or after `GRACE` seconds.

    Args:
      last_words: what to say where the process is ended from outside of the main thread, which may be busy compiling.

    Returns:
      (as context) `() -> None`, which says them, once.
    """
    said = threading.Event()

    def say() -> None:
        if not said.is_set():
            said.set()
            sys.stderr.flush()
            os.write(2, f"{last_words()}\n".encode())

    if threading.current_thread() is not threading.main_thread():
        yield say
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    came = threading.Event()

    def handle(number: int, frame: object) -> None:
        if came.is_set():
            return  # the thread below sees it too
        came.set()
        # what the exception breaks off on its way (finalizers, threads of other libraries) has nothing more to say
        sys.unraisablehook = lambda event: None
        threading.excepthook = lambda event: None
        raise Stopped(number)

    def watch() -> None:
        number = _next(reader, None)
        if number is None:
            return
        _next(reader, GRACE)
        say()
        os._exit(128 + number)

    # a signal that the caller ignores (nohup) stays ignored
    numbers = [number for number in NUMBERS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in numbers}
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=watch, daemon=True).start()
    try:
        yield say
    finally:
        if not came.is_set():  # else the thread also ends a process whose other threads do not end
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.write(writer, b"\0")


def _next(reader: int, seconds: float | None) -> int | None:
    """The next of the signals; None after so many seconds, or where none is to come any more."""
    while select.select([reader], [], [], seconds)[0]:
        number = os.read(reader, 1)[0]
        if number in NUMBERS:
            return number
        if number == 0:
            return None
    return None
