"""`throughline models`: what is live, and changing it from the command line."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ml_metadata.metadata_store.metadata_store import MetadataStore

from pipeline import cli
from pipeline.columnar import files
from pipeline.config import Config
from pipeline.lineage.query import open_lineage
from pipeline.registry import history
from pipeline.registry.changes import push
from pipeline.registry.versions import identity, versions
from pipeline.store.connection import open_store
from tests.pipeline.registry.saved_models import named, weights_of
from tests.pipeline.tfx_store import StockStore, Trained, train

ROOT = Path(__file__).parents[3]
Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(
    config: Config, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Ask:
    """Runs the command; returns exit code, output and errors."""
    monkeypatch.delenv("THROUGHLINE_METADATA", raising=False)

    def run(*arguments: Any) -> tuple[int, str, str]:
        given = [*map(str, arguments), "--output", str(config.output)]
        code = cli.exit_code(lambda: cli.COMMANDS["models"](given))
        return code, *capfd.readouterr()

    return run


class _Models:
    """Runs of a store, whose models may be pushed."""

    def __init__(self, config: Config) -> None:
        self.config = config
        root = config.output / "artifacts"
        self.stock = StockStore(config.metadata_url, root, config.name)
        self.store = MetadataStore(open_store(config.metadata_url))

    def train(self, run: str, auc: float = 0.9) -> Trained:
        """Trains a model in a run; it isn't blessed."""
        made = train(self.stock, run, auc=auc)
        named(self.stock.path(made.model), "Format-Serving")
        weights = "variables/variables.data-00000-of-00001"
        place = self.stock.path(made.model) / "Format-Serving" / weights
        place.write_text(f"weights of {run}")
        return made

    def push(self, run: str, auc: float = 0.9) -> int:
        """Trains a model in a run, and makes it live."""
        made = self.train(run, auc)
        (model,) = self.store.get_artifacts_by_id([made.model])
        origin = identity(model.id, model.uri, model.create_time_since_epoch)
        path = Path(model.uri) / "Format-Serving"
        return push(path, self.config.serving_directory, origin)


@pytest.fixture
def models(config: Config) -> _Models:
    """A store without runs."""
    return _Models(config)


def test_list_says_what_was_live_when(ask: Ask, models: _Models) -> None:
    """A line per period, with aliases; the same as JSON."""
    a, b = models.push("monday"), models.push("tuesday")
    ask("rollback", "--because", "complaints")

    code, out, _ = ask()
    listed = json.loads(ask("list", "--json")[1])

    title, *rows = out.splitlines()
    restored = listed["live"]
    assert code == 0
    assert title.split()[:3] == ["version", "live", "from"]
    assert [row.split()[0] for row in rows] == [str(a), str(b), str(restored)]
    assert " live " in rows[2]
    assert " now " in rows[2]
    assert rows[2].endswith("complaints")
    assert [entry["version"] for entry in listed["versions"]] == [a, b, restored]
    assert [event["action"] for event in listed["history"]] == [
        "push",
        "push",
        "rollback",
    ]


def test_show_has_facts_and_damage(ask: Ask, config: Config, models: _Models) -> None:
    """A version is shown by number or alias, with what is wrong with its files."""
    a, b = models.push("monday"), models.push("tuesday")
    facts = {"run": "monday", "metrics": {"auc": 0.9}, "data": [], "code": {}}
    history.note_facts(config.serving_directory, {a: facts})
    (config.serving_directory / str(a) / "saved_model.pb").unlink()

    _, out, _ = ask("show", "previous")
    shown = json.loads(ask("show", b, "--json")[1])

    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert lines["version"] == f"{a} previous"
    assert lines["files"] == "saved_model.pb is gone"
    assert lines["run"] == "monday"
    assert lines["metric"] == "auc 0.9"
    assert (shown["version"], shown["aliases"], shown["damage"]) == (b, ["live"], "")


def test_rollback_is_in_lineage(ask: Ask, config: Config, models: _Models) -> None:
    """The earlier model is live, with its reason, on disk and in the store."""
    models.push("monday")
    models.push("tuesday")

    code, out, err = ask("rollback", "--because", "complaints")

    restored = versions(config.serving_directory)[-1]
    place = config.serving_directory / str(restored)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"live is {place}"
    assert weights_of(place) == "weights of monday"
    lineage = open_lineage(config).model()
    assert lineage.live
    assert (lineage.run, lineage.versions[-1]) == ("monday", str(restored))
    assert lineage.steps[-1].node == "ModelRegistry"


def test_rollback_works_without_the_store(
    ask: Ask, config: Config, models: _Models
) -> None:
    """What is live has changed although it can't be recorded, which is said."""
    models.push("monday")
    models.push("tuesday")
    url = "mysql://me:geheim@localhost:1/db"

    code, out, err = ask("rollback", "--because", "x", "--metadata", url)

    live = versions(config.serving_directory)[-1]
    assert code == 0
    assert out.startswith(f"rolled back: its model is restored as {live}\n")
    assert "not yet recorded in the metadata store" in err
    assert "geheim" not in err


def test_a_candidate_is_promoted_by_its_run(
    ask: Ask, config: Config, models: _Models
) -> None:
    """A model that wasn't blessed is live for a reason, and can be rolled back."""
    a = models.push("monday")
    made = models.train("tuesday")

    code, _, err = ask("promote", "tuesday", "--because", "I know better")

    registry = history.read(config.serving_directory)
    event = registry.events[-1]
    assert (code, err) == (0, "")
    assert (event.action, event.because) == ("promote", "I know better")
    assert event.origin["model_id"] == made.model
    assert registry.previous == a
    assert open_lineage(config).model().run == "tuesday"
    # Known at once, not only when a run has pushed something.
    assert registry.facts[event.version]["run"] == "tuesday"
    assert registry.facts[event.version]["metrics"]["auc"] == 0.9


def test_a_candidate_in_a_bucket_is_promoted(
    ask: Ask, config: Config, models: _Models, bucket: str
) -> None:
    """A model whose artifact is in an object store is copied from there."""
    models.push("monday")
    made = models.train("tuesday")
    (artifact,) = models.store.get_artifacts_by_id([made.model])
    files.copy_tree(artifact.uri, f"{bucket}/model")
    artifact.uri = f"{bucket}/model"
    models.store.put_artifacts([artifact])

    code, _, err = ask("promote", "tuesday", "--because", "x")

    registry = history.read(config.serving_directory)
    assert (code, err) == (0, "")
    assert registry.events[-1].origin["model_uri"] == f"{bucket}/model"
    live = config.serving_directory / str(registry.live)
    weights = live / "variables" / "variables.data-00000-of-00001"
    assert weights.read_text() == "weights of tuesday"


def test_a_card_is_printed(ask: Ask, models: _Models) -> None:
    """The card of a version is Markdown; as JSON it is one text."""
    number = models.push("monday")

    code, out, _ = ask("card", "live")
    answer = json.loads(ask("card", number, "--json")[1])

    assert code == 0
    assert out.startswith(f"# Model taxi, version {number}\n")
    assert "trained by run `monday`" in out
    assert answer == {"version": number, "markdown": f"{out}"}


def test_a_candidate_without_files_is_refused(ask: Ask, models: _Models) -> None:
    """An artifact that was freed can't be promoted."""
    models.push("monday")
    made = models.train("tuesday")
    models.stock.path(made.model).rename(models.config.output / "elsewhere")

    code, _, err = ask("promote", "tuesday", "--because", "x")

    assert code == 2
    assert f"the files of model {made.model} in" in err


def test_promoting_a_version_by_alias(ask: Ask, models: _Models) -> None:
    """`previous` is a version, and needs no store to be found."""
    models.push("monday")
    models.push("tuesday")

    answer = json.loads(ask("promote", "previous", "--because", "x", "--json")[1])
    repeated = json.loads(ask("promote", "live", "--because", "x", "--json")[1])

    assert answer["changed"]
    assert answer["live"] == answer["version"] == repeated["live"]
    assert not repeated["changed"]


def test_delete_keeps_the_live_version(
    ask: Ask, config: Config, models: _Models
) -> None:
    """An old version goes, the live one is refused with what to do."""
    a, b = models.push("monday"), models.push("tuesday")

    deleted = ask("delete", a)
    refused = ask("delete", "live")

    assert deleted[0] == 0
    assert f"deleted version {a}" in deleted[1]
    assert refused[0] == 2
    assert f"version {b} is live and can't be deleted" in refused[2]
    assert versions(config.serving_directory) == [b]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "7"], "there is no version '7' in "),
        (["show", "latest"], ", also by the names live\n"),
        (["promote", "previous", "--because", "x"], "there is no version 'previous'"),
        (["rollback", "--because", " "], "because is empty"),
        (["lst"], "there is no action of models 'lst'; did you mean 'list'?"),
        (["promote", "sunday", "--because", "x"], "There is no model 'sunday'"),
    ],
)
def test_mistakes_end_with_2(
    arguments: list[str], said: str, ask: Ask, models: _Models
) -> None:
    """What is wrong is named, and nothing changes."""
    models.push("monday")

    code, out, err = ask(*arguments)

    assert (code, out) == (2, "")
    assert said in err


@pytest.mark.parametrize("action", ["list", "show live", "rollback --because x"])
def test_without_versions_nothing_is_made(
    action: str, ask: Ask, config: Config
) -> None:
    """A mistyped --output is named, and no directory comes to be."""
    code, _, err = ask(*action.split())

    assert code == 2
    assert "there is no " in err
    assert list(config.output.iterdir()) == []


def test_listing_and_rolling_back_import_little() -> None:
    """Neither TFX nor TensorFlow nor, to list, the metadata store's library."""
    code = (
        "import sys; from pipeline.commands import models; "
        "heavy = {'tfx', 'tensorflow', 'ml_metadata', 'apache_beam', 'pandas'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False
    )

    assert (done.stdout, done.stderr) == (b"[]\n", b"")
