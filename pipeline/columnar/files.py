"""Files by URI: one layer for local paths, gs://, s3:// and whatever Arrow reads.

A path without a scheme is local. A file that is written appears under its name only
when it is complete.
"""

import errno
import functools
import hashlib
import os
import tempfile
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
_CLOUD_STORAGE = "gs"
# Arrow's own limit for Cloud Storage is a quarter of an hour without a word.
_RETRY_SECONDS = 30
# Also what TFX, Beam and macOS leave beside data: they are never data themselves.
_HIDDEN = (".", "_")
_PREFIX = "throughline-"
_COPIED_BYTES = 8 << 20
_DIRECTORY = fs.FileType.Directory


def resolve(location: Location) -> tuple[fs.FileSystem, str]:
    """Finds the file system of a location, and the path in it.

    Credentials, the region and the endpoint of an object store are taken from where
    its own tools take them, such as AWS_PROFILE, AWS_REGION and AWS_ENDPOINT_URL.

    Args:
        location: A URI such as s3://bucket/key, or a local path.
    """
    text = os.fspath(location)
    if is_remote(text):
        scheme, _, path = text.partition(_SCHEME)
        return _remote(scheme, path.partition("/")[0]), path
    if text.startswith(_LOCAL):
        return fs.LocalFileSystem(), unquote(text.removeprefix(_LOCAL))
    return fs.LocalFileSystem(), str(Path(text).absolute())


def is_remote(location: Location) -> bool:
    """Whether a location is a URI of something else than the local file system."""
    text = os.fspath(location)
    return _SCHEME in text and not text.startswith(_LOCAL)


@functools.lru_cache
def _remote(scheme: str, bucket: str) -> fs.FileSystem:
    """Connects to a bucket, once per process: each new connection asks its region."""
    limit = f"?retry_limit_seconds={_RETRY_SECONDS}"
    query = limit if scheme == _CLOUD_STORAGE else ""
    return fs.FileSystem.from_uri(f"{scheme}{_SCHEME}{bucket}{query}")[0]


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


def subdirectories(directory: Location) -> list[str]:
    """Lists the directories in a directory, hidden ones too; none if it is absent."""
    system, path = resolve(directory)
    selector = fs.FileSelector(path, allow_not_found=True)
    found = [i for i in system.get_file_info(selector) if not i.is_file]
    return sorted(join(directory, info.base_name) for info in found)


def tree(directory: Location) -> dict[str, int]:
    """Lists all files below a directory, hidden ones too.

    Returns:
        The bytes of each file by its path in the directory; empty if it is absent.
    """
    system, path = resolve(directory)
    selector = fs.FileSelector(path, allow_not_found=True, recursive=True)
    return {
        info.path.removeprefix(path).lstrip("/"): int(info.size)
        for info in system.get_file_info(selector)
        if info.is_file
    }


def exists(location: Location) -> bool:
    """Whether there is a file or a directory."""
    return _kind(location) != fs.FileType.NotFound


def is_directory(location: Location) -> bool:
    """Whether there is a directory."""
    return _kind(location) == fs.FileType.Directory


def _kind(location: Location) -> fs.FileType:
    system, path = resolve(location)
    return system.get_file_info(path).type


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


def opened(location: Location) -> pa.NativeFile:
    """Opens a file for reading; the caller closes it."""
    system, path = resolve(location)
    try:
        return system.open_input_file(path)
    except OSError as error:
        # Arrow gives its own words and no number for this one.
        if error.errno is None and system.get_file_info(path).type is _DIRECTORY:
            code = errno.EISDIR
            raise OSError(code, os.strerror(code), os.fspath(location)) from error
        raise


def read_bytes(location: Location) -> bytes:
    """Reads a whole file."""
    with opened(location) as file:
        return bytes(file.read())


def read_text(location: Location) -> str:
    """Reads a whole file of UTF-8."""
    return read_bytes(location).decode("utf-8")


def sha256(location: Location) -> str:
    """Returns the SHA-256 of a file's contents, in hexadecimal."""
    with opened(location) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_bytes(location: Location, data: bytes) -> None:
    """Writes a whole file, which appears under its name when it is complete."""
    with created(location) as stream:
        stream.write(data)


def write_text(location: Location, text: str) -> None:
    """Writes a whole file as UTF-8; see `write_bytes`."""
    write_bytes(location, text.encode("utf-8"))


def copy_tree(source: Location, target: Location) -> None:
    """Copies all files below a directory; one side at least is a local one.

    Args:
        source: The directory.
        target: Another one, created if it does not exist; files of the same names are
            replaced.
    """
    make_directory(target)
    for name in tree(source):
        copy_file(join(source, name), join(target, name))


def copy_file(source: Location, target: Location) -> None:
    """Copies a file, which appears under its name when it is complete."""
    with opened(source) as stream, created(target) as copy:
        while piece := stream.read(_COPIED_BYTES):
            copy.write(piece)


@contextmanager
def local_copy(directory: Location) -> Iterator[str]:
    """Provides a directory to code that reads local files only, such as TensorFlow.

    Args:
        directory: Where the files are.

    Yields:
        The directory itself if it is local; else one with a copy of its files, which
        exists during the block.
    """
    if not is_remote(directory):
        yield resolve(directory)[1]
        return
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as copy:
        copy_tree(directory, copy)
        yield copy


@contextmanager
def written_locally(directory: Location) -> Iterator[str]:
    """Provides a directory to code that writes local files only.

    Args:
        directory: Where the files are to be.

    Yields:
        The directory itself if it is local; else an empty one, whose files are copied
        after the block. After an error nothing is copied.
    """
    if not is_remote(directory):
        make_directory(directory)
        yield resolve(directory)[1]
        return
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as written:
        yield written
        copy_tree(written, directory)


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
    # An object store has no directories, and each one that is made is a request.
    if not is_remote(location):
        system.create_dir(parent, recursive=True)
    # In the same directory: a rename is atomic only within a file system.
    unfinished = f"{parent}/.{name}.{uuid.uuid4().hex}"
    try:
        with system.open_output_stream(unfinished) as stream:
            yield stream
        system.move(unfinished, path)
    except BaseException:
        if system.get_file_info(unfinished).type != fs.FileType.NotFound:
            system.delete_file(unfinished)
        raise
