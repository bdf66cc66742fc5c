"""Names of the gate's findings: our checks and TFDV's anomaly types are distinct."""

from tensorflow_metadata.proto.v0 import anomalies_pb2

from pipeline.trust.checks import NEW_COLUMN, NOT_BLOCKING, Check, Severity

TFDV = set(anomalies_pb2.AnomalyInfo.Type.keys())


def test_no_check_is_named_like_an_anomaly_of_tfdv() -> None:
    """A policy that names a finding means either a check or an anomaly, never both."""
    assert TFDV.isdisjoint(Check)


def test_what_does_not_block_is_a_finding_that_exists() -> None:
    """Each default is for one of our checks or one of TFDV's types, and is milder."""
    assert NEW_COLUMN in TFDV
    assert set(NOT_BLOCKING) <= TFDV | set(Check)
    assert Severity.BLOCK not in NOT_BLOCKING.values()
