"""Which jars a cluster has, and what is said where they can't be had."""

import hashlib
import re
import shutil
import zipfile
from pathlib import Path

import pytest

from pipeline.clusters import jars
from pipeline.errors import ThroughlineError, UsageError


@pytest.mark.parametrize("engine", ["flink", "spark"])
def test_each_jar_has_a_hash_and_a_version_of_the_declaration(engine: str) -> None:
    """The lock file names jars by path and SHA-256, the declared ones among them."""
    declared = (Path(jars.__file__).parent / f"{engine}.xml").read_text()

    locked = jars.locked(engine)

    assert all(re.fullmatch(r"[0-9a-f]{64}", jar.sha256) for jar in locked)
    assert all(jar.name.endswith(".jar") for jar in locked)
    names = {Path(jar.name).name for jar in locked}
    pairs = re.findall(r"<artifactId>(.+)</artifactId>\s+<version>(.+)</v", declared)
    assert {f"{name}-{version}.jar" for name, version in pairs[1:]} <= names
    assert not any("java-harness" in name for name in names)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one jar, which is all that a cluster has."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "a.jar").write_bytes(b"jar")
    jar = jars.Jar("a/a.jar", hashlib.sha256(b"jar").hexdigest())
    monkeypatch.setattr(jars, "repository", lambda: tmp_path)
    monkeypatch.setattr(jars, "locked", lambda _: [jar])
    return tmp_path


def test_jars_that_are_there_need_no_maven(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a network, and without Maven, a cluster starts from what is there."""
    monkeypatch.setenv("PATH", "")
    said: list[str] = []

    found = jars.class_path("flink", said.append)

    assert found == [repository / "a" / "a.jar"]
    assert said == []


def test_another_jar_of_the_name_is_refused(repository: Path) -> None:
    """A jar with other contents is named, and what to do about it."""
    (repository / "a" / "a.jar").write_bytes(b"other")

    with pytest.raises(ThroughlineError, match=r"a\.jar has the SHA-256 .*; delete it"):
        jars.class_path("flink", print)


def test_missing_maven_is_named(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jars that are missing need Maven, and the message says what to install."""
    (repository / "a" / "a.jar").unlink()
    monkeypatch.setenv("PATH", "")

    with pytest.raises(UsageError, match=r"no mvn on the PATH; install .* maven"):
        jars.class_path("flink", print)


@pytest.mark.skipif(not shutil.which("javac"), reason="there is no javac")
def test_the_class_loader_compiles(tmp_path: Path) -> None:
    """The class that hides jars from Beam is valid Java."""
    jar = jars.compiled("QuietLoader", tmp_path)

    with zipfile.ZipFile(jar) as file:
        assert file.namelist() == ["QuietLoader.class"]
