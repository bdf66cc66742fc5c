"""Files by URI: one layer for local paths, gs://, s3:// and whatever Arrow reads.

A path without a scheme is local. A file that is written appears under its name only
when it is complete.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import pyarrow as pa
from pyarrow import fs

Location = str | os.PathLike[str]
"""A URI, or a local path."""

_SCHEME = "://"
_LOCAL = "file://"
# Also what TFX, Beam and macOS leave beside data: they are never data themselves.
_HIDDEN = (".", "_")


def resolve(location: Location) -> tuple[fs.FileSystem, str]:
    """Finds the file system of a location, and the path in it.

    Args:
        location: A URI such as s3://bucket/key, or a local path.
    """
    text = os.fspath(location)
    if text.startswith(_LOCAL):
        return fs.LocalFileSystem(), unquote(text.removeprefix(_LOCAL))
    if _SCHEME in text:
        found: tuple[fs.FileSystem, str] = fs.FileSystem.from_uri(text)
        return found
    return fs.LocalFileSystem(), str(Path(text).absolute())


def join(directory: Location, *names: str) -> str:
    """Appends names to a directory, whether it is a URI or a path."""
    return "/".join([os.fspath(directory).rstrip("/"), *names])


def name_of(location: Location) -> str:
    """Returns the last part of a location."""
    return PurePosixPath(os.fspath(location)).name


def listed(directory: Location) -> list[str]:
    """Lists the visible files of a directory, sorted by name; none if it is absent."""
    system, path = resolve(directory)
    selector = fs.FileSelector(path, allow_not_found=True)
    names = sorted(
        info.base_name for info in system.get_file_info(selector) if info.is_file
    )
    return [join(directory, n) for n in names if not n.startswith(_HIDDEN)]


def exists(location: Location) -> bool:
    """Whether there is a file or a directory."""
    system, path = resolve(location)
    return bool(system.get_file_info(path).type != fs.FileType.NotFound)


def size(location: Location) -> int:
    """Returns the bytes of a file; 0 if there is none."""
    system, path = resolve(location)
    return int(system.get_file_info(path).size or 0)


def make_directory(directory: Location) -> None:
    """Creates a directory and those above it, where the file system has any."""
    system, path = resolve(directory)
    system.create_dir(path, recursive=True)


def remove(location: Location) -> None:
    """Removes a file; nothing happens if there is none."""
    if exists(location):
        system, path = resolve(location)
        system.delete_file(path)


def remove_directory(directory: Location) -> None:
    """Removes a directory with its content; nothing happens if there is none."""
    if exists(directory):
        system, path = resolve(directory)
        system.delete_dir(path)


def read_bytes(location: Location) -> bytes:
    """Reads a whole file."""
    system, path = resolve(location)
    with system.open_input_stream(path) as stream:
        return bytes(stream.read())


def write_bytes(location: Location, data: bytes) -> None:
    """Writes a whole file, which appears under its name when it is complete."""
    with created(location) as stream:
        stream.write(data)


@contextmanager
def created(location: Location) -> Iterator[pa.NativeFile]:
    """Opens a new file for writing, and renames it into place at the end.

    Args:
        location: Its name; a file of that name is replaced.

    Yields:
        The stream. After an error nothing is left of the file.
    """
    system, path = resolve(location)
    parent, _, name = path.rpartition("/")
    system.create_dir(parent, recursive=True)
    unfinished = f"{parent}/.{name}.{uuid.uuid4().hex}"
    try:
        with system.open_output_stream(unfinished) as stream:
            yield stream
        system.move(unfinished, path)
    except BaseException:
        if system.get_file_info(unfinished).type != fs.FileType.NotFound:
            system.delete_file(unfinished)
        raise
