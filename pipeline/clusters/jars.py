"""The jars of a cluster, from Maven Central, with the SHA-256 of each.

ENGINE.xml says what a cluster is made of, and ENGINE.sha256 what Maven made of that:
the class path, in order. So a cluster starts offline once its jars are there.
"""

import hashlib
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ThroughlineError, UsageError

_HERE = Path(__file__).parent
_RESOLVE = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:resolve"


@dataclass(frozen=True)
class Jar:
    """A jar's coordinates and its expected SHA-256.

    Attributes:
        name: Its path in a Maven repository.
        sha256: Of its contents, in hexadecimal digits.
    """

    name: str
    sha256: str


def repository() -> Path:
    """Returns Maven's directory of downloaded jars."""
    return Path.home() / ".m2" / "repository"


def locked(engine: str) -> list[Jar]:
    """Reads the lock file of jars, in class path order."""
    lines = (_HERE / f"{engine}.sha256").read_text().splitlines()
    pairs = (line.split(maxsplit=1) for line in lines)
    return [Jar(name, sha256) for sha256, name in pairs]


def class_path(engine: str, say: Callable[[str], None]) -> list[Path]:
    """Returns a cluster's jars; missing ones are downloaded by Maven.

    Args:
        engine: "flink" or "spark".
        say: Is told that jars are fetched, which takes a minute or two.

    Raises:
        UsageError: A jar is missing, and there is no Maven or no network.
        ThroughlineError: A jar's contents are others than the locked ones.
    """
    jars, place = locked(engine), repository()
    missing = [jar.name for jar in jars if not (place / jar.name).is_file()]
    if missing:
        say(f"fetching {len(missing)} jars of {engine} into {place}, once")
        _fetch(engine, place)
    return [_checked(place / jar.name, jar) for jar in jars]


def java() -> str:
    """Returns the path of Java's launcher.

    Raises:
        UsageError: There is none.
    """
    return _program("java", "a JDK, version 11 or 17", "default-jdk-headless")


def compiled(name: str, directory: Path) -> Path:
    """Compiles a class of this package into a jar.

    Args:
        name: Of the class, and of its file.
        directory: Where the jar goes.

    Returns:
        The jar: Beam can't send a directory of classes with a job.

    Raises:
        UsageError: There is no compiler.
    """
    compiler = _program("javac", "a JDK, version 11 or 17", "default-jdk-headless")
    _run([compiler, "-d", str(directory), str(_HERE / f"{name}.java")])
    jar = directory / f"{name}.jar"
    with zipfile.ZipFile(jar, "w") as file:
        file.write(directory / f"{name}.class", f"{name}.class")
    return jar


def joined(jars: Sequence[Path]) -> str:
    """Joins jars to a class path."""
    return os.pathsep.join(map(str, jars))


def _fetch(engine: str, place: Path) -> None:
    maven = _program("mvn", "Maven, to fetch its jars", "maven")
    _run(
        [
            maven,
            "--batch-mode",
            "--quiet",
            "--strict-checksums",
            f"--file={_HERE / f'{engine}.xml'}",
            f"-Dmaven.repo.local={place}",
            "-DincludeScope=runtime",
            _RESOLVE,
        ]
    )


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line]
        said = next((line for line in lines if "ERROR" in line or "error" in line), "")
        raise UsageError(
            f"{Path(command[0]).name} ended with {done.returncode}: "
            f"{said or 'it said nothing'}; is there a network, and room on the disk?"
        )


def _program(name: str, what: str, package: str) -> str:
    found = shutil.which(name)
    if not found:
        raise UsageError(
            f"a cluster needs {what}, and there is no {name} on the PATH; install what "
            f"Debian calls {package}"
        )
    return found


def _checked(path: Path, jar: Jar) -> Path:
    if not path.is_file():
        raise ThroughlineError(
            f"{path} is missing, although Maven has fetched the jars; "
            f"pipeline/clusters/*.xml and *.sha256 don't fit together"
        )
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != jar.sha256:
        raise ThroughlineError(
            f"{path} has the SHA-256 {found}, and {jar.sha256} was expected; delete "
            "it, and it is fetched again"
        )
    return path
