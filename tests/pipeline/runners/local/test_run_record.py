"""What a run remembers, and what a later one learns from it."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config import Config, smoke
from pipeline.errors import UsageError
from pipeline.registry import changes, versions
from pipeline.runners.local import run_record
from pipeline.store import run_files
from pipeline.store.run_files import Outcome, Run
from tests.pipeline.tfx_store import StockStore


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A configuration with a data directory of its own."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("x\n1\n")
    return replace(smoke(), data=tmp_path / "data", output=tmp_path / "out")


def done(config: Config) -> Run:
    """Records a run that ended well with a live model."""
    model = config.output / "model"
    model.mkdir(parents=True, exist_ok=True)
    (model / "saved_model.pb").write_text("graph")
    number = changes.push_unless_live(
        model, config.serving_directory, versions.identity(1, "/m/1", 7)
    ).version
    run = run_record.new_run(config)
    run.outcome, run.exit_code = Outcome.DONE, 0
    run.live = run.model = str(config.serving_directory / str(number))
    run.save()
    store = StockStore(config.metadata_url, Path(config.artifact_root), config.name)
    store.ran(run.run_id, "Pusher")
    return run


def test_configuration_survives_json(config: Config) -> None:
    """A configuration comes back from JSON as it was."""
    changed = replace(config, train_steps=3, label_policy="card-trips")

    text = json.dumps(run_record.to_json(changed))

    assert run_record.from_json(json.loads(text)) == changed


def test_a_record_of_another_version_is_refused(config: Config) -> None:
    """A setting that has another name by now ends in a sentence, not in a KeyError."""
    settings = run_record.to_json(config)
    settings["beam"]["beam_parallelism"] = settings["beam"].pop("parallelism")

    with pytest.raises(UsageError, match=r"another version, with beam_parallelism"):
        run_record.from_json(settings)


def test_password_is_not_recorded(config: Config) -> None:
    """The record of a run holds the metadata store's URL without its password."""
    run = run_record.new_run(replace(config, metadata="mysql://me:geheim@host/db"))

    run.save()

    record = run.directory / run_files.RECORD_FILE
    text = record.read_text()
    assert "mysql://me:***@host/db" in text
    assert "geheim" not in text
    assert record.stat().st_mode & 0o777 == 0o600


def test_runs_of_one_second_have_names_of_their_own(config: Config) -> None:
    """Runs that begin at once get different names, in the order of their beginning."""
    names = [done(config).run_id for _ in range(3)]

    assert sorted(set(names)) == names


def test_asking_what_changed_makes_no_store(config: Config) -> None:
    """The question creates nothing where the store was deleted."""
    done(config)
    (config.output / "metadata.db").unlink()

    run_record.unchanged_since(config)

    assert not (config.output / "metadata.db").exists()


def test_unchanged_pipeline_is_recognised(config: Config) -> None:
    """When nothing has changed since a run ended well, that run is found."""
    run = done(config)

    assert run_record.unchanged_since(config) == run


CHANGES = (
    *("setting", "data", "new file", "live", "outcome"),
    *("other model", "model damaged", "store gone", "store new", "output moved"),
)


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_is_noticed(change: str, config: Config) -> None:
    """A setting, a file, another or a damaged live model, a new store: each counts."""
    run = done(config)
    data = config.data_directory
    if change == "setting":
        config = replace(config, seed=5)
    elif change == "data":
        (data / "a.csv").write_text("x\n2\n3\n")
    elif change == "new file":
        (data / "b.csv").write_text("x\n2\n")
    elif change == "live":
        changes.push(config.output / "model", config.serving_directory, {})
    elif change == "other model":
        # What was live when the run ended was another run's model.
        run.model = None
        run.save()
    elif change == "model damaged":
        (Path(run.model or "") / "saved_model.pb").write_text("")
    elif change == "store gone":
        (config.output / "metadata.db").unlink()
    elif change == "store new":
        (config.output / "metadata.db").unlink()
        StockStore(config.metadata_url, Path(config.artifact_root)).ran("other", "Any")
    elif change == "output moved":
        (config.output / "serving").rename(config.output / "elsewhere")
    else:
        run.outcome = Outcome.NOT_BLESSED
        run.save()

    assert run_record.unchanged_since(config) is None


def test_touched_data_is_unchanged(config: Config) -> None:
    """A file with another time of change and the same content is no change."""
    run = done(config)

    os.utime(config.data_directory / "a.csv", (0, 0))

    assert run_record.unchanged_since(config) == run


def test_an_edit_behind_the_same_time_is_noticed(config: Config) -> None:
    """An edit that keeps size and time of modification is a change."""
    file = config.data_directory / "a.csv"
    os.utime(file, (0, 0))
    done(config)

    file.write_text("x\n2\n")
    os.utime(file, (0, 0))

    assert run_record.unchanged_since(config) is None


def test_only_wanted_spans_count(config: Config) -> None:
    """A span that is not read is no change; one that is newer than all is."""
    data = config.data_directory
    for span in (4, 5):
        (data / f"{span}.csv").write_text("x\n1\n")
    (data / "a.csv").unlink()
    spanned = replace(config, pattern="{SPAN}.csv")
    run = done(spanned)

    (data / "3.csv").write_text("x\n1\n")
    older = run_record.unchanged_since(spanned)
    (data / "6.csv").write_text("x\n1\n")
    newer = run_record.unchanged_since(spanned)

    assert older == run
    assert newer is None


def test_partial_run_does_not_count_as_whole(config: Config) -> None:
    """A run of a part does not make the whole pipeline done."""
    run = done(config)
    run.last = "Transform"
    run.save()

    assert run_record.unchanged_since(config) is None


def test_schema_is_part_of_the_definition(config: Config, tmp_path: Path) -> None:
    """An edited schema changes the definition, and so the name of a new run."""
    schema = tmp_path / "schema.pbtxt"
    schema.write_text("# one")
    mine = replace(config, schema=schema)
    before = run_record.definition_of(mine)

    schema.write_text("# two")

    assert run_record.definition_of(mine) != before


def test_dead_run_is_told_from_a_living(config: Config) -> None:
    """A run lives exactly as long as a process holds its lock."""
    run = run_record.new_run(config)
    run.save()
    program = (
        "import sys, pathlib, time\n"
        "from pipeline.runners.local import run_record\n"
        "from pipeline.store import run_files\n"
        "run = run_files.read_run(pathlib.Path(sys.argv[1]))\n"
        "with run_record.held(run):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )

    with subprocess.Popen(
        [sys.executable, "-c", program, str(run.directory)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        while_held = run.is_alive()
        process.kill()
        process.wait()

    assert while_held
    assert not run.is_alive()


def test_output_directory_has_one_user(config: Config) -> None:
    """A second user of an output directory is told who holds it."""
    with (
        run_record.output_directory_held(config),
        pytest.raises(UsageError, match=r"in use by process \d+"),
        run_record.output_directory_held(config),
    ):
        pass


def test_server_store_takes_several_runs(config: Config) -> None:
    """With a metadata store on a server, nobody is kept out."""
    shared = replace(config, metadata="mysql://me@host/db")

    with (
        run_record.output_directory_held(shared),
        run_record.output_directory_held(shared),
    ):
        pass


def test_a_run_that_lives_is_not_taken_over(config: Config) -> None:
    """Who resumes a run that still runs is told so, and the run goes on."""
    run = done(config)

    with (
        run_record.held(run),
        pytest.raises(UsageError, match=f"Run {run.run_id} is still running"),
        run_record.held(run),
    ):
        pass
