"""The Pusher: blessed models only, nothing twice, an earlier model can return."""

from pathlib import Path

import pytest
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from pipeline.components.versioned_pusher import Executor
from pipeline.errors import ThroughlineError
from pipeline.registry.changes import Author, rollback
from pipeline.registry.versions import versions
from tests.pipeline.registry.saved_models import FILES, read, write


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A model's serving directory, which isn't there yet."""
    return tmp_path / "serving" / "taxi"


class _Pusher:
    """The executor with real artifacts around it."""

    def __init__(self, tmp_path: Path, base: Path) -> None:
        self.tmp_path = tmp_path
        self.base = base

    def push(
        self,
        model_id: int,
        *,
        blessed: bool = True,
        infra_blessed: bool | None = None,
        missing: str | None = None,
    ) -> standard_artifacts.PushedModel:
        """Runs the executor for a model; the same id is the same model."""
        model = standard_artifacts.Model()
        model.uri, model.id = str(self.tmp_path / f"models/{model_id}"), model_id
        write(Path(model.uri) / "Format-Serving", FILES | {"id": str(model_id)})
        blessing = standard_artifacts.ModelBlessing()
        blessing.set_int_custom_property("blessed", int(blessed))
        inputs = {"model": [model], "model_blessing": [blessing]}
        if infra_blessed is not None:
            infra = standard_artifacts.InfraBlessing()
            status = "INFRA_BLESSED" if infra_blessed else "INFRA_NOT_BLESSED"
            infra.set_string_custom_property("blessing_status", status)
            infra.set_int_custom_property("blessed", int(infra_blessed))
            inputs["infra_blessing"] = [infra]
        if missing:
            inputs[missing] = []
        pushed = standard_artifacts.PushedModel()
        number = len(list(self.tmp_path.glob("pushed-*")))
        pushed.uri = str(self.tmp_path / f"pushed-{number}")
        Path(pushed.uri).mkdir()
        destination = pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(
                base_directory=str(self.base)
            )
        )
        Executor().Do(
            inputs,
            {"pushed_model": [pushed]},
            {"push_destination": proto_utils.proto_to_json(destination)},
        )
        return pushed


@pytest.fixture
def pusher(tmp_path: Path, base: Path) -> _Pusher:
    """The executor, pushing to `base`."""
    return _Pusher(tmp_path, base)


def test_a_blessed_model_is_pushed(pusher: _Pusher, base: Path) -> None:
    """A blessed model is live, and the artifact says which version and holds it."""
    pushed = pusher.push(1, infra_blessed=True)

    (version,) = versions(base)
    assert pushed.get_int_custom_property("pushed") == 1
    assert pushed.get_string_custom_property("pushed_version") == str(version)
    assert pushed.get_string_custom_property("pushed_destination") == str(
        base / str(version)
    )
    assert read(Path(pushed.uri)) == FILES | {"id": "1"}
    assert (base / str(version) / "id").read_text() == "1"


@pytest.mark.parametrize(
    ("blessed", "infra_blessed"), [(False, None), (False, True), (True, False)]
)
def test_what_is_not_blessed_is_not_pushed(
    pusher: _Pusher,
    base: Path,
    blessed: bool,  # noqa: FBT001 - a parameter of the test
    infra_blessed: bool | None,  # noqa: FBT001 - the same
) -> None:
    """A model that misses one of its blessings stays where it is."""
    pushed = pusher.push(1, blessed=blessed, infra_blessed=infra_blessed)

    assert pushed.get_int_custom_property("pushed") == 0
    assert not pushed.has_custom_property("pushed_destination")
    assert read(Path(pushed.uri)) == {}
    assert not base.exists()


@pytest.mark.parametrize("missing", ["model", "model_blessing", "infra_blessing"])
def test_a_missing_input_is_no_permission(
    pusher: _Pusher, base: Path, missing: str
) -> None:
    """Without a blessing that the pipeline asks for, or a model, nothing is pushed."""
    with pytest.raises(ThroughlineError) as refused:
        pusher.push(1, infra_blessed=True, missing=missing)

    assert str(refused.value) == f"nothing was pushed: this run has no {missing} yet"
    assert not base.exists()


def test_the_live_model_is_not_pushed_again(pusher: _Pusher, base: Path) -> None:
    """Pushing what is live makes no new version, and names the one that is live."""
    first = pusher.push(1)

    second = pusher.push(1)

    (version,) = versions(base)
    for pushed in (first, second):
        assert pushed.get_int_custom_property("pushed") == 1
        assert pushed.get_string_custom_property("pushed_version") == str(version)
    assert read(Path(second.uri)) == FILES | {"id": "1"}


def test_a_model_that_was_rolled_back_is_held_back(pusher: _Pusher, base: Path) -> None:
    """Blessed or not, it isn't pushed again, and the artifact says why."""
    pusher.push(1)
    pusher.push(2)
    restored = rollback(base, None, Author(by="me", because="complaints")).version

    pushed = pusher.push(2)

    assert versions(base)[-1] == restored
    assert pushed.get_int_custom_property("pushed") == 0
    assert not pushed.has_custom_property("pushed_destination")
    note = pushed.get_string_custom_property("throughline_push_note")
    assert "by me: complaints" in note
    assert read(Path(pushed.uri)) == {}


def test_an_earlier_model_can_come_back(pusher: _Pusher, base: Path) -> None:
    """A model that was live before another one is pushed anew, as the newest."""
    pushed = [pusher.push(model_id) for model_id in (1, 2, 1)]

    assert [(base / str(v) / "id").read_text() for v in versions(base)] == [
        "1",
        "2",
        "1",
    ]
    first = versions(base)[0]
    note = pushed[-1].get_string_custom_property("throughline_push_note")
    assert note.startswith(f"the model of version {first} is back")
    assert not pushed[0].has_custom_property("throughline_push_note")


def test_changing_the_artifact_does_not_change_what_is_live(
    pusher: _Pusher, base: Path
) -> None:
    """What a server reads is a copy, that nobody changes through an artifact."""
    pushed = pusher.push(1)
    with (Path(pushed.uri) / "id").open("r+") as file:
        file.write("9")

    (version,) = versions(base)
    assert (base / str(version) / "id").read_text() == "1"
