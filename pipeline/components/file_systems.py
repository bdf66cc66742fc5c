"""S3 for TFX's own file operations.

TFX makes and removes the directories of executions through `tfx.dsl.io.fileio`, which
leaves s3:// to TensorFlow; TensorFlow 2.21 has no such file system. So this one is
registered in its place, on the layer that our executors use.
"""

import io
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from typing import IO, Any, cast

from tfx.dsl.io import filesystem, filesystem_registry
from tfx.dsl.io.filesystem import PathType

from pipeline.columnar import files

_BEFORE_TENSORFLOW = 0  # TFX gives TensorFlow's file system 10; the lowest is taken.


def register() -> None:
    """Registers the file system; once is enough, and more than once does no harm."""
    filesystem_registry.DEFAULT_FILESYSTEM_REGISTRY.register(
        S3FileSystem, priority=_BEFORE_TENSORFLOW
    )


class S3FileSystem(filesystem.Filesystem):
    """What TFX's launcher and `io_utils` call; the names are TFX's.

    There is neither `stat` nor `rename`: of TFX only the stock ExampleGen's fingerprint
    and the stock Pusher need them, which ours replace.
    """

    SUPPORTED_SCHEMES = ("s3://",)

    @staticmethod
    def open(name: PathType, mode: str = "r") -> IO[Any]:
        """Opens a file as `builtins.open` does, to read or to write."""
        system, path = files.resolve(_text(name))
        try:
            if "r" in mode:
                file = system.open_input_file(path)
            else:
                file = system.open_output_stream(path)
        except FileNotFoundError as error:
            raise filesystem.NotFoundError(str(error)) from error
        if "b" in mode:
            return cast("IO[Any]", file)
        return io.TextIOWrapper(cast("IO[bytes]", file), encoding="utf-8")

    @staticmethod
    def copy(src: PathType, dst: PathType, overwrite: bool = False) -> None:  # noqa: FBT001, FBT002 - TFX's signature
        """Copies a file."""
        if not overwrite and files.exists(_text(dst)):
            raise OSError(f"{_text(dst)} exists already")
        files.copy_file(_text(src), _text(dst))

    @staticmethod
    def exists(path: PathType) -> bool:
        """Whether there is a file or a directory."""
        return files.exists(_text(path))

    @staticmethod
    def glob(pattern: PathType) -> list[PathType]:
        """Lists the files whose names match, of one directory."""
        directory, _, name = _text(pattern).rpartition("/")
        return [f for f in files.listed(directory) if fnmatch(files.name_of(f), name)]

    @staticmethod
    def isdir(path: PathType) -> bool:
        """Whether there is a directory."""
        return files.is_directory(_text(path))

    @staticmethod
    def listdir(path: PathType) -> list[PathType]:
        """Returns the names in a directory."""
        directory = _text(path)
        if not files.is_directory(directory):
            raise filesystem.NotFoundError(directory)
        found = {name.partition("/")[0] for name in files.tree(directory)}
        return sorted(found | set(map(files.name_of, files.subdirectories(directory))))

    @staticmethod
    def makedirs(path: PathType) -> None:
        """Creates a directory."""
        files.make_directory(_text(path))

    @staticmethod
    def mkdir(path: PathType) -> None:
        """Creates a directory; S3 needs none above it."""
        files.make_directory(_text(path))

    @staticmethod
    def remove(path: PathType) -> None:
        """Removes a file."""
        if not files.exists(_text(path)):
            raise filesystem.NotFoundError(_text(path))
        files.remove(_text(path))

    @staticmethod
    def rmtree(path: PathType) -> None:
        """Removes a directory with its content."""
        if not files.exists(_text(path)):
            raise filesystem.NotFoundError(_text(path))
        files.remove_directory(_text(path))

    @staticmethod
    def walk(
        top: PathType,
        topdown: bool = True,  # noqa: FBT001, FBT002 - TFX's signature
        onerror: Callable[..., None] | None = None,
    ) -> Iterator[tuple[PathType, list[PathType], list[PathType]]]:
        """Yields each directory with the names of its directories and files."""
        del onerror  # A listing fails as a whole.
        directory = _text(top)
        below = files.subdirectories(directory)
        inside = [name for name in files.tree(directory) if "/" not in name]
        here = (directory, [files.name_of(each) for each in below], inside)
        if topdown:
            yield here
        for each in below:
            yield from S3FileSystem.walk(each, topdown)
        if not topdown:
            yield here


def _text(path: PathType) -> str:
    return path.decode() if isinstance(path, bytes) else path
