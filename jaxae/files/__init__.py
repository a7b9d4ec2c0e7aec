"""Files that jaxae reads back: JSON, `.npz` and programs, each through one strict reader.

A file may have been cut off, edited or made by somebody else. Whatever it holds, reading it gives values of the kinds
that are asked for, or a ValueError in one line that names the file and the key. Nothing is unpickled, and no more
memory is taken than the file's own size can account for.
"""
