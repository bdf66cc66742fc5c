"""What a Flink cluster on this machine is told."""

from pathlib import Path

from pipeline.clusters.flink import Flink
from pipeline.clusters.processes import Processes
from pipeline.commands.run import parse_run


def test_flags_are_those_of_the_pipelines_commands(tmp_path: Path) -> None:
    """The flags parse, and name the engine, its workers and where they come from."""
    cluster = Flink(Processes(tmp_path), tmp_path, workers=3)

    config, _ = parse_run("x", cluster.flags())

    assert (config.beam.engine, config.beam.parallelism) == ("flink", 3)
    assert config.beam.environment_type == "EXTERNAL"


def test_each_process_has_a_configuration_that_listens_on_loopback(
    tmp_path: Path,
) -> None:
    """What a process reads is one setting per line, and no address is the network's."""
    cluster = Flink(Processes(tmp_path), tmp_path, workers=1)

    flag, directory = cluster._configuration("taskmanager-1")

    text = (Path(directory) / "flink-conf.yaml").read_text()
    settings = dict(line.split(": ", 1) for line in text.splitlines())
    assert flag == "--configDir"
    assert {v for k, v in settings.items() if "host" in k or "address" in k} == {
        "127.0.0.1"
    }
    assert Path(settings["io.tmp.dirs"]).is_dir()
