"""Rows of the sample as the gate sees them: profiles, and TFDV's anomalies."""

import functools
import io
from datetime import date

import pandas as pd
import pyarrow as pa
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2

from data import taxi
from models import declared
from pipeline.columnar import lists
from pipeline.trust import gate, labels, profile, schema_review
from pipeline.trust.gate import Baseline, Evidence
from pipeline.trust.policy import Policy, Verdict
from pipeline.trust.profile import Profile
from schema import SCHEMA_PATH

TODAY = date(2026, 11, 24)
SCHEMA = schema_review.read(SCHEMA_PATH)
_TYPES = {
    schema_pb2.FLOAT: pa.float32(),
    schema_pb2.INT: pa.int64(),
    schema_pb2.BYTES: pa.binary(),
}


@functools.cache
def sample() -> pd.DataFrame:
    """Returns all rows of the sample; copy them before changing any."""
    return pd.read_csv(io.BytesIO(taxi.read_sample()))


def batch_of(rows: pd.DataFrame) -> pa.RecordBatch:
    """Gives rows the reviewed schema's types."""
    types = {f.name: _TYPES[f.type] for f in SCHEMA.feature}
    arrays = [
        pa.array(rows[name], types.get(name), from_pandas=True) for name in rows.columns
    ]
    return pa.RecordBatch.from_arrays(arrays, list(rows.columns))


def profile_of(rows: pd.DataFrame) -> Profile:
    """Profiles rows, with the labels of the sample."""
    batch = batch_of(rows)
    return profile.of_batch(batch, *labels.label_of("all-trips", batch))


def anomalies_of(rows: pd.DataFrame) -> anomalies_pb2.Anomalies:
    """Returns what ExampleValidator finds in rows."""
    batch = lists.wrap_batch(batch_of(rows))
    statistics = stats_impl.generate_statistics_in_memory(batch, tfdv.StatsOptions())
    return tfdv.validate_statistics(statistics, SCHEMA)


def evidence_of(
    rows: pd.DataFrame,
    *,
    before: pd.DataFrame | None = None,
    spans: tuple[int, ...] = (),
    spans_before: tuple[int, ...] = (),
    live: pd.DataFrame | None = None,
    spans_live: tuple[int, ...] = (),
) -> Evidence:
    """Returns what the gate knows of rows after runs on other rows."""
    given = {gate.PREVIOUS: (before, spans_before), gate.LIVE: (live, spans_live)}
    baselines = {}
    for name, (rows_of, spans_of) in given.items():
        if rows_of is not None:
            accepted = profile_of(rows_of)
            fingerprint = accepted.named_fingerprint()
            verdict = Verdict(spans=spans_of, fingerprint=fingerprint)
            baselines[name] = Baseline(accepted, verdict)
    return Evidence(
        splits={"train": profile_of(rows)},
        anomalies={"train": anomalies_of(rows)},
        schema=SCHEMA,
        features=declared.RAW_COLUMNS,
        label_columns=declared.LABEL_COLUMNS,
        spans=spans,
        baselines=baselines,
    )


def judged(evidence: Evidence) -> Verdict:
    """Judges by the default policy."""
    return gate.judge(evidence, Policy(), TODAY)
