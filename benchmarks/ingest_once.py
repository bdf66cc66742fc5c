"""Ingests a directory once, in a process that another one measures.

    python -m benchmarks.ingest_once ours|stock DATA OUTPUT

Runs one node as every orchestrator does, driver and metadata store included, with the
same three splits and the same Beam engine for both, and writes the seconds that the
executor took to OUTPUT/seconds.
"""

import sys
import time
from pathlib import Path
from typing import Any

from tfx.components.example_gen.csv_example_gen.component import CsvExampleGen
from tfx.orchestration.pipeline import Pipeline
from tfx.orchestration.portable.launcher import Launcher
from tfx.proto import example_gen_pb2

from benchmarks.ingestion import NODE, OURS, SECONDS_FILE, STOCK
from pipeline import create_pipeline
from pipeline.config import Config
from pipeline.runners.compiler import compile_pipeline
from pipeline.runners.node import run_node
from pipeline.store.connection import open_store


def stock_pipeline(config: Config) -> Pipeline:
    """Creates a pipeline of the stock component alone, with the sample's splits."""
    split = example_gen_pb2.SplitConfig.Split
    parts = config.splits
    splits = [
        split(name="train", hash_buckets=parts.train_parts),
        split(name="eval", hash_buckets=parts.eval_parts),
        split(name="test", hash_buckets=parts.test_parts),
    ]
    ingestion = CsvExampleGen(
        input_base=str(config.data_directory),
        output_config=example_gen_pb2.Output(
            split_config=example_gen_pb2.SplitConfig(splits=splits)
        ),
    )
    return Pipeline(
        pipeline_name=config.name,
        pipeline_root=config.artifact_root,
        components=[ingestion.with_id(NODE)],
        beam_pipeline_args=config.beam_pipeline_args,
    )


def main(which: str, data: Path, output: Path) -> None:
    """Runs the node, and writes the seconds that its executor took."""
    config = Config(data=data, output=output)
    build = {STOCK: stock_pipeline, OURS: create_pipeline}[which]
    run_executor = Launcher._run_executor  # noqa: SLF001 - nobody else sees the moment
    started: list[float] = []

    def timed(launcher: Launcher, info: Any) -> Any:
        started.append(time.monotonic())
        result = run_executor(launcher, info)
        started.append(time.monotonic())
        return result

    Launcher._run_executor = timed  # noqa: SLF001 - the same
    connection = open_store(config.metadata_url)
    run_node(compile_pipeline(build(config)), NODE, "once", connection)
    before, after = started
    (output / SECONDS_FILE).write_text(str(after - before))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
