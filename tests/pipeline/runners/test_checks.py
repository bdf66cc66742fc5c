"""What orchestrators would refuse later is refused when the pipeline is compiled."""

import re

import pytest

from pipeline.errors import UsageError
from pipeline.runners import checks


@pytest.mark.parametrize(
    "text",
    [
        "0 3 * * *",
        "*/15 * * * *",
        "0 0-23/2 1,15 * *",
        "30 4 * JAN-mar Mon",
        "0 0 29 2 *",
        "0 0 31 4 1",
        "@daily",
    ],
)
def test_schedules_of_cron(text: str) -> None:
    """Numbers, lists, ranges, steps, names and macros are taken."""
    checks.schedule(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "bad cron",
            "it must have five fields (minute, hour, day of the month, month,",
        ),
        ("not cron", "or be one of @hourly, @daily"),
        ("", "five fields"),
        ("0 3 * * * *", "five fields"),
        ("@fortnightly", "five fields"),
        ("60 3 * * *", "its minute is not one of cron's"),
        ("0 24 * * *", "its hour is not one of cron's"),
        ("0 3 0 * *", "its day-of-month is not one of cron's"),
        ("0 3 * 13 *", "its month is not one of cron's"),
        ("0 3 * * 7", "days are numbers from 0, Sunday, or names"),
        ("0 3 * * someday", "its day-of-week is not one of cron's"),
        ("5-1 3 * * *", "its minute is not one of cron's"),
        ("*/0 3 * * *", "its minute is not one of cron's"),
        ("0 3 L * *", "days are numbers from 0, Sunday, or names"),
        ("0 3 * * mon#2", "is no day of the week"),
        ("1, 3 * * *", "its minute is not one of cron's"),
        ("-1 3 * * *", "its minute is not one of cron's"),
        ("٣ 3 * * *", "is no minute"),
        ("0 0 30 2 *", "its day-of-month is not one of cron's"),
        ("0 0 31 4,6 *", "its day-of-month is not one of cron's"),
    ],
)
def test_schedules_that_would_fail_later(text: str, said: str) -> None:
    """The schedule, what is wrong with it and what was expected are said."""
    with pytest.raises(UsageError, match=re.escape(said)) as refused:
        checks.schedule(text)

    assert str(refused.value).startswith(f"schedule is {text!r}; ")


def test_time_zones_are_those_of_iana() -> None:
    """A time zone is one that the database has."""
    checks.timezone("Europe/Berlin")

    for name in ("Mars/Olympus", "", "../etc/passwd", "Europe"):
        with pytest.raises(UsageError, match="such as Etc/UTC or Europe/Berlin"):
            checks.timezone(name)


@pytest.mark.parametrize("amount", ["1", "0.5", "500m", "16"])
def test_cores(amount: str) -> None:
    """Cores are whole, decimal or in thousandths."""
    checks.cpu(amount, "cpu")


@pytest.mark.parametrize("amount", ["lots", "", "0", "0m", "-1", "1.5m", "1e3", "1,5"])
def test_wrong_cores(amount: str) -> None:
    """What Kubernetes would not schedule is refused by the flag's name."""
    with pytest.raises(UsageError, match=rf"heavy-cpu is '{amount}'; it must be cores"):
        checks.cpu(amount, "heavy-cpu")


@pytest.mark.parametrize("amount", ["3Gi", "512Mi", "2G", "1Ti"])
def test_memory(amount: str) -> None:
    """Memory is a whole number with a unit that Kubernetes and kfp know."""
    checks.memory(amount, "memory")


@pytest.mark.parametrize(
    "amount", ["lots", "", "3", "0Gi", "1.5Gi", "3GB", "3 Gi", "3gi"]
)
def test_wrong_memory(amount: str) -> None:
    """An amount without a unit would be bytes, and is refused like others."""
    with pytest.raises(UsageError, match=f"memory is '{amount}'; it must be a whole"):
        checks.memory(amount, "memory")


def test_names_for_kubernetes() -> None:
    """Names are written in lower case with `-`, and must be allowed then."""
    assert checks.kubernetes_name("My_Trips", "name") == "my-trips"

    with pytest.raises(UsageError, match="would have to call it 'taxi-'"):
        checks.kubernetes_name("taxi_", "name")
    with pytest.raises(UsageError, match="allows 52 characters, not 53"):
        checks.kubernetes_name("a" * 53, "name", 52)


def test_objects_of_the_cluster_have_dns_names() -> None:
    """Claims, secrets and namespaces that can't exist are refused."""
    checks.kubernetes_object("my-claim.v2", "volume")

    for name in ("My_Claim", "", "-a", "a..b", "{{x}}", "a" * 254):
        with pytest.raises(UsageError, match="names in Kubernetes are of lower-case"):
            checks.kubernetes_object(name, "volume")


@pytest.mark.parametrize("value", ["/data/{{workflow.uid}}", "/data/$(PASSWORD)"])
def test_placeholders_are_refused(value: str) -> None:
    """What a cluster would replace in a command is refused as it was given."""
    checks.no_placeholders(["/data/{YYYY}-{MM}", "/data/$HOME"])

    with pytest.raises(UsageError, match="containers don't get as it is") as refused:
        checks.no_placeholders(["fine", value])

    assert repr(value) in str(refused.value)
