"""Pseudo-terminals: run a command in one, and see what is left on its screen."""

import fcntl
import os
import pty
import re
import struct
import termios
from collections.abc import Mapping, Sequence

_LINES = 50
_CONTROL = re.compile(
    r"\x1b\[(?P<number>[0-9;?]*)(?P<command>[A-Za-z])|(?P<other>[\r\n])"
    r"|(?P<text>[^\x1b\r\n]+)"
)


def resize(descriptor: int, columns: int) -> None:
    """Gives a pseudo-terminal its width."""
    size = struct.pack("HHHH", _LINES, columns, 0, 0)
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, size)


def read_all(descriptor: int) -> bytes:
    """Reads what is printed on a pseudo-terminal until nobody has it open."""
    printed = b""
    while True:
        try:
            piece = os.read(descriptor, 65536)
        except OSError:
            # Linux reports the end of a pseudo-terminal as an error.
            piece = b""
        if not piece:
            os.close(descriptor)
            return printed
        printed += piece


def run(
    command: Sequence[str], columns: int, environment: Mapping[str, str]
) -> tuple[int, str]:
    """Runs a command in a pseudo-terminal to its end.

    Args:
        command: The program and its arguments.
        columns: Width of the terminal.
        environment: All variables that the command gets, besides TERM.

    Returns:
        The exit code, and all that was printed.
    """
    child, terminal = pty.fork()
    if not child:
        resize(1, columns)
        variables = {"TERM": "xterm", **environment}
        os.execvpe(command[0], list(command), variables)  # noqa: S606 - that's the point
    text = read_all(terminal).decode()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), text


def screen(text: str) -> list[str]:
    """Draws what was printed as a terminal without a last line would; its lines.

    It knows the controls that rich uses: to the line's start, up, erase, and colours.
    """
    lines, row, column = [""], 0, 0
    for match in _CONTROL.finditer(text):
        if shown := match["text"]:
            line = lines[row].ljust(column)
            lines[row] = line[:column] + shown + line[column + len(shown) :]
            column += len(shown)
        elif match["other"] == "\r":
            column = 0
        elif match["other"] == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif match["command"] == "A":
            row = max(row - int(match["number"] or 1), 0)
        elif match["command"] == "K":
            lines[row] = ""
    return [line.rstrip() for line in lines]
