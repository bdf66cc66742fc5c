"""Which part of a pipeline runs."""

import pytest
from tfx.proto.orchestration import pipeline_pb2

from pipeline import create_pipeline
from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.runners import compiler, node
from pipeline.runners.local import parts
from pipeline.store.connection import open_store

# protobuf warns on behalf of TFX's caller, which is us.
pytestmark = pytest.mark.filterwarnings("ignore:label:DeprecationWarning")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A configuration whose store is empty."""
    return Config(output=tmp_path_factory.mktemp("out"))


@pytest.fixture
def pipeline(config: Config) -> pipeline_pb2.Pipeline:
    """The default pipeline."""
    return compiler.compile_pipeline(create_pipeline(config))


def is_cached(pipeline: pipeline_pb2.Pipeline, node_id: str) -> bool:
    """Whether a node may take its outputs from the cache."""
    options = node.node_of(pipeline, node_id).execution_options.caching_options
    return bool(options.enable_cache)


@pytest.mark.parametrize(
    ("asked", "trainer", "transform"),
    [(None, True, True), (["Trainer"], False, True), ([], False, False)],
)
def test_nodes_do_without_the_cache(
    pipeline: pipeline_pb2.Pipeline,
    asked: list[str] | None,
    *,
    trainer: bool,
    transform: bool,
) -> None:
    """None leaves the cache on, some are named, and an empty list is all of them."""
    parts.uncache(pipeline, asked)

    assert is_cached(pipeline, "Trainer") is trainer
    assert is_cached(pipeline, "Transform") is transform


def test_a_node_that_is_none_is_refused(pipeline: pipeline_pb2.Pipeline) -> None:
    """A wrong name is answered with the right ones."""
    with pytest.raises(UsageError, match=r"'Trainr'.*Trainer"):
        parts.uncache(pipeline, ["Trainr"])


def test_the_beginning_of_a_pipeline_needs_no_earlier_run(
    config: Config, pipeline: pipeline_pb2.Pipeline
) -> None:
    """Up to a node: it, and what it depends on."""
    connection = open_store(config.metadata_url)

    chosen = parts.select(
        pipeline, "monday", connection, first=None, last="StatisticsGen"
    )

    assert chosen == {"ExampleGen": [], "StatisticsGen": ["ExampleGen"]}


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        ("Trainer", None, "run the whole pipeline first"),
        ("Trainer", "ExampleGen", "does not depend on"),
        ("Nobody", None, "'Nobody'"),
    ],
)
def test_a_part_that_can_not_run_is_refused(
    config: Config,
    pipeline: pipeline_pb2.Pipeline,
    first: str,
    last: str | None,
    said: str,
) -> None:
    """A part without what it builds on, an empty one, and a wrong name are refused."""
    connection = open_store(config.metadata_url)

    with pytest.raises(UsageError, match=said):
        parts.select(pipeline, "monday", connection, first=first, last=last)


def test_without_a_node_nobody_waits_for_it() -> None:
    """What is left out is gone from what others wait for, too."""
    upstream = {"Gen": [], "Left": ["Gen"], "Push": ["Left", "Gen"]}

    assert parts.without(upstream, {"Gen"}) == {"Left": [], "Push": ["Left"]}
