"""Ingests CSV and Parquet files by columns, with nothing lost.

The stock executor parses rows one by one, guesses a column's type from its values,
shuffles rows by chance and stops at the first row that doesn't fit. Here a column keeps
the type that the schema gives it, the same files always give the same records in the
same order, and rows that don't fit go to an output of their own.
"""

import functools
import itertools
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
from google.protobuf import text_format
from google.protobuf.any_pb2 import Any as PackedAny
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components.util import examples_utils
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.proto import example_gen_pb2
from tfx.types import Artifact, artifact_utils
from tfx.types.standard_component_specs import EXAMPLES_KEY
from tfx.utils import proto_utils

from pipeline.columnar import files, progress
from pipeline.columnar.files import Location
from pipeline.errors import DataRefusedError, ThroughlineError
from pipeline.ingestion import columns, plan, quarantine, source, writing
from pipeline.ingestion.digests import fingerprint, memory_beside, sha256_of
from pipeline.ingestion.plan import Piece
from pipeline.ingestion.quarantine import COUNTS_FILE, Tally
from pipeline.ingestion.source import Source
from pipeline.ingestion.spans import files_of
from pipeline.ingestion.splitting import AppliedRule, SplitRule
from pipeline.store import properties

QUARANTINE_KEY = "quarantine"
FILE_FORMAT = example_gen_pb2.FileFormat.Name(example_gen_pb2.FILE_FORMAT_PARQUET)
_LOG = logging.getLogger(__name__)
_LOGGED = 100
_EXACT = "sha256:"


@dataclass(frozen=True)
class Settings:
    """What the executor is told besides what TFX has a place for.

    Attributes:
        rule: Which split a row is in.
        schema_file: The reviewed schema; none if there is none yet.
        encoding: Of text files, as Python names it.
        max_quarantined: The share of the rows that may not fit, 0 to 1.
    """

    rule: SplitRule
    schema_file: str = ""
    encoding: str = source.UTF_8
    max_quarantined: float = 0.01

    def packed(self) -> example_gen_pb2.CustomConfig:
        """Puts it where a FileBasedExampleGen takes it; the ratios go elsewhere."""
        settings = asdict(self)
        del settings["rule"]["parts"]
        struct = Struct()
        struct.update({**settings, **settings.pop("rule")})
        struct.fields.pop("rule", None)
        packed = PackedAny()
        packed.Pack(struct)
        return example_gen_pb2.CustomConfig(custom_config=packed)

    def output_config(self) -> example_gen_pb2.Output:
        """Puts the ratios where TFX takes them."""
        splits = [
            example_gen_pb2.SplitConfig.Split(name=name, hash_buckets=buckets)
            for name, buckets in self.rule.parts.items()
        ]
        return example_gen_pb2.Output(
            split_config=example_gen_pb2.SplitConfig(splits=splits)
        )

    @classmethod
    def of(cls, exec_properties: Mapping[str, Any]) -> "Settings":
        """Reads what `packed` and `output_config` wrote."""
        custom, struct = example_gen_pb2.CustomConfig(), Struct()
        proto_utils.json_to_proto(exec_properties["custom_config"], custom)
        custom.custom_config.Unpack(struct)
        output = example_gen_pb2.Output()
        proto_utils.json_to_proto(exec_properties["output_config"], output)
        parts = {s.name: s.hash_buckets for s in output.split_config.splits}
        given = MessageToDict(struct)
        rule = SplitRule(
            parts,
            hash_columns=tuple(given.pop("hash_columns", ())),
            test_spans=int(given.pop("test_spans", 0)),
            **{
                name: given.pop(name, "")
                for name in ("time_column", "eval_from", "test_from")
            },
        )
        return cls(rule, **given)


class Executor(BaseBeamExecutor):
    """Ingests data files; the executor of the standard FileBasedExampleGen."""

    def Do(  # noqa: N802 - the name is TFX's
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the splits, each row to one of them or to quarantine.

        Args:
            input_dict: Empty; files come from the execution's parameters.
            output_dict: `examples` and `quarantine`, the artifacts to fill.
            exec_properties: `input_base` and `input_config` name the files,
                `output_config` and `custom_config` hold what `Settings` does.

        Raises:
            DataRefusedError: A file can't be read, or too many rows don't fit.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        settings = Settings.of(exec_properties)
        examples = artifact_utils.get_single_instance(output_dict[EXAMPLES_KEY])
        refuge = artifact_utils.get_single_instance(output_dict[QUARANTINE_KEY])
        names = settings.rule.names
        examples.split_names = artifact_utils.encode_split_names(names)
        directories = {
            split: artifact_utils.get_split_uri([examples], split) for split in names
        }
        try:
            sources = _sources(exec_properties, settings)
            tally, rule = self._ingest(sources, settings, directories, refuge.uri)
            _check(tally, sources, settings, refuge.uri)
            noted = _fingerprints(exec_properties, sources, examples.uri)
            for name, text in properties.divided(properties.FILES, noted).items():
                examples.set_string_custom_property(name, text)
        except DataRefusedError:
            for directory in directories.values():
                files.remove_directory(directory)
            # TFX removes an artifact's own directory, and wants it to be there.
            for name in files.tree(refuge.uri):
                files.remove(files.join(refuge.uri, name))
            raise
        _finish(refuge, tally)
        examples.set_string_custom_property(properties.SPLIT_RULE, rule.to_json())
        examples.set_string_custom_property(
            properties.SPLIT_FINGERPRINT, rule.fingerprint
        )
        examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_PARQUET)
        examples_utils.set_file_format(examples, FILE_FORMAT)

    def _ingest(
        self,
        sources: Sequence[Source],
        settings: Settings,
        directories: Mapping[str, Location],
        refuge: Location,
    ) -> tuple[Tally, AppliedRule]:
        schema = _schema(settings)
        source.check_headers(sources, schema)
        shards = plan.divide(sources)
        rows = plan.count_rows(shards)
        rule = settings.rule.over(source.expected_columns(schema) if schema else ())
        job = writing.Job(rule, directories, refuge, len(shards))
        for directory in (refuge, *directories.values()):
            files.make_directory(directory)
        kinds = columns.kinds_of_schema(schema)
        if not set(sources[0].names) <= kinds.keys():
            look = functools.partial(writing.note_kinds, job=job)
            with progress.running(progress.Task(rows, phase="types")):
                self._share("Look", shards, look)
            kinds = {**writing.noted_kinds(job), **kinds}
        kinds = {name: kinds[name] for name in _in_order(schema, sources[0].names)}
        rule.check(kinds)
        write = functools.partial(writing.write_shard, kinds=kinds, job=job)
        with progress.running(progress.Task(rows)):
            self._share("Write", shards, write)
        return writing.added_up(job), AppliedRule.of(rule, kinds)

    def _share(
        self,
        name: str,
        shards: Sequence[Sequence[Piece]],
        do: Callable[[tuple[int, Sequence[Piece]]], None],
    ) -> None:
        """Does something with each shard; one alone needs no engine to share it."""
        if len(shards) == 1:
            do((0, shards[0]))
            return
        with self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | "Shards" >> beam.Create(list(enumerate(shards)))
                | "Spread" >> beam.Reshuffle()
                | name >> beam.Map(do)
            )


def _in_order(schema: schema_pb2.Schema | None, names: Sequence[str]) -> list[str]:
    """Orders columns as the schema does: TFX's reader of Parquet expects it so."""
    described = [f.name for f in schema.feature if f.name in names] if schema else []
    return [*described, *(name for name in names if name not in described)]


def _sources(exec_properties: Mapping[str, Any], settings: Settings) -> list[Source]:
    """Looks at all files, of the oldest span first."""
    base = Path(exec_properties["input_base"])
    found = [
        source.look_at(path, settings.encoding)
        for pattern in _patterns(exec_properties).values()
        for path in files_of(base, pattern)
    ]
    if not found:
        raise DataRefusedError(
            f"there is no file to read in {base}; put at least one CSV or Parquet file "
            "there"
        )
    for each in found:
        if each.has_mark:
            _LOG.info("%s begins with a byte order mark, which is left out", each.path)
    return found


def _patterns(exec_properties: Mapping[str, Any]) -> dict[str, str]:
    settings = example_gen_pb2.Input()
    proto_utils.json_to_proto(exec_properties["input_config"], settings)
    return {split.name: split.pattern for split in settings.splits}


def _check(
    tally: Tally, sources: Sequence[Source], settings: Settings, refuge: Location
) -> None:
    """Holds the result against what was promised.

    Raises:
        DataRefusedError: A file has no rows, or too many rows don't fit.
        ThroughlineError: Rows were lost, which must not be.
    """
    for found in sources:
        if not tally.read[str(found.path)]:
            what = "no rows" if found.kind == "parquet" else "a header and no rows"
            raise DataRefusedError(
                f"{found.path} has {what}; add rows, or remove the file"
            )
    kept, set_aside = tally.written.total(), tally.quarantined.total()
    if kept + set_aside != tally.rows:
        raise ThroughlineError(
            f"{tally.rows:,} rows were read, and {kept:,} written and {set_aside:,} "
            "quarantined: rows were lost, which is a fault of Throughline's"
        )
    if tally.share > settings.max_quarantined:
        for row in itertools.islice(quarantine.read_rows(refuge), _LOGGED):
            _LOG.error("Does not fit: %s", json.dumps(row, ensure_ascii=False))
        raise DataRefusedError(quarantine.refusal(tally, settings.max_quarantined))


def _finish(refuge: Artifact, tally: Tally) -> None:
    """Writes the counts, and says them."""
    files.write_text(files.join(refuge.uri, COUNTS_FILE), tally.to_json())
    count = tally.quarantined.total()
    refuge.set_int_custom_property(properties.ROWS_READ, tally.rows)
    refuge.set_int_custom_property(properties.ROWS_QUARANTINED, count)
    written = ", ".join(f"{rows:,} {split}" for split, rows in tally.written.items())
    _LOG.info("%s rows read: %s, %s quarantined", f"{tally.rows:,}", written, count)
    if count:
        progress.note(f"{count:,} of {tally.rows:,} rows don't fit")


def _fingerprints(
    exec_properties: Mapping[str, Any],
    sources: Sequence[Source],
    uri: str,
) -> str:
    """Says what was read, for lineage: each file's path, bytes and SHA-256, as JSON.

    Raises:
        DataRefusedError: The files are not any more what the driver has found.
    """
    memory = memory_beside(uri)
    expected = str(exec_properties.get("input_fingerprint", ""))
    base = Path(exec_properties["input_base"])
    if _EXACT in expected:
        now = fingerprint(base, _patterns(exec_properties), memory)
        if now != expected:
            raise DataRefusedError(
                f"The data in {base} changed while it was being read; run again when "
                "nothing writes there any more"
            )
    paths = [found.path for found in sources]
    return json.dumps(
        [
            {"path": str(path), "bytes": path.stat().st_size, "sha256": sha256}
            for path, sha256 in sha256_of(paths, memory).items()
        ]
    )


def _schema(settings: Settings) -> schema_pb2.Schema | None:
    if not settings.schema_file:
        return None
    text = Path(settings.schema_file).read_text()
    return text_format.Parse(text, schema_pb2.Schema())
