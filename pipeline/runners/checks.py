"""Checks at compile time of settings that an orchestrator would only reject later.

They run before TFX is imported, and so within a second.
"""

import re
import zoneinfo
from collections.abc import Iterable
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

from pipeline.errors import UsageError

_MACROS = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly")
_FIELDS = ("minute", "hour", "day of the month", "month", "day of the week")
# cronsim takes more than Argo's and Airflow's parsers: "L", "#", 7 for Sunday, and
# steps that reach beyond a field.
_COMMON = re.compile(r"[A-Za-z0-9*,/-]+", re.ASCII)
_NO_SUNDAY = re.compile(r"(?<!\d)7(?!\d)|[lL#]")

_CPU = re.compile(r"\d+(?:\.\d{1,3})?|\d+m", re.ASCII)
# Units that Kubernetes and kfp share; they spell kilobytes differently.
_MEMORY = re.compile(r"\d+[MGTPE]i?", re.ASCII)
_DNS_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")
_DNS_NAME = re.compile(rf"{_DNS_LABEL.pattern}(?:\.{_DNS_LABEL.pattern})*")
_LONGEST_NAME = 63
_LONGEST_OBJECT = 253


def at_least(settings: object, least: int, *names: str, group: str = "") -> None:
    """Rejects numbers below a minimum.

    Args:
        settings: A dataclass.
        least: The lowest value that is allowed.
        *names: Its fields.
        group: Prefix of their flags, if they are in a group of settings.

    Raises:
        UsageError: One of them is lower.
    """
    for name in names:
        if (value := getattr(settings, name)) < least:
            flag = (f"{group}.{name}" if group else name).replace("_", "-")
            raise UsageError(f"{flag} is {value}; it must be at least {least}")


def schedule(text: str) -> None:
    """Rejects a schedule that Argo's or Airflow's parser would not accept.

    Args:
        text: Five fields as cron writes them, with 0 for Sunday, or a macro such as
            `@daily`.

    Raises:
        UsageError: It is malformed, or no date ever matches it.
    """
    if text in _MACROS:
        return
    parts = text.split()
    if len(parts) != len(_FIELDS):
        raise _wrong(
            "schedule",
            text,
            f"it must have five fields ({', '.join(_FIELDS)}), "
            f"or be one of {', '.join(_MACROS)}",
        )
    for name, part in zip(_FIELDS, parts, strict=True):
        if not _COMMON.fullmatch(part):
            raise _wrong("schedule", text, f"{part!r} is no {name}")
    if _NO_SUNDAY.search(re.sub(r"/\d+", "", parts[-1])) or "l" in parts[2].lower():
        raise _wrong("schedule", text, "days are numbers from 0, Sunday, or names")
    try:
        # Any fixed time: only the expression is checked, dates that never come
        # included.
        CronSim(text, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        wrong = str(error).removeprefix("Bad ")
        raise _wrong("schedule", text, f"its {wrong} is not one of cron's") from None


def timezone(name: str) -> None:
    """Rejects a name that is not in the IANA time zone database.

    Raises:
        UsageError: There is no such time zone.
    """
    if name not in zoneinfo.available_timezones():
        raise _wrong(
            "timezone", name, "it must be a name such as Etc/UTC or Europe/Berlin"
        )


def cpu(amount: str, setting: str) -> None:
    """Rejects a number of cores that Kubernetes would not accept.

    Raises:
        UsageError: It is malformed, or zero.
    """
    if not _CPU.fullmatch(amount) or not float(amount.removesuffix("m")):
        raise _wrong(setting, amount, "it must be cores, such as 2, 0.5 or 500m")


def memory(amount: str, setting: str) -> None:
    """Rejects an amount of memory that Kubernetes or Kubeflow would not accept.

    Raises:
        UsageError: It is malformed, zero, or has a unit that not both accept.
    """
    if not _MEMORY.fullmatch(amount) or not int(re.sub(r"\D", "", amount)):
        raise _wrong(
            setting,
            amount,
            "it must be a whole number and a unit, such as 3Gi or 512Mi",
        )


def kubernetes_name(name: str, setting: str, longest: int = _LONGEST_NAME) -> str:
    """Converts a name to a DNS label: lower case, `-` for `_`.

    Args:
        name: Name of a pipeline or node.
        setting: The flag, or the kind of thing, that has the name; for the message.
        longest: Maximum number of characters.

    Returns:
        The converted name.

    Raises:
        UsageError: The result is not a DNS label, or too long.
    """
    written = name.lower().replace("_", "-")
    if not _DNS_LABEL.fullmatch(written):
        raise _wrong(
            setting,
            name,
            f"Kubernetes would have to call it {written!r}, which must "
            "begin and end with a letter or a digit",
        )
    if len(written) > longest:
        raise _wrong(
            setting, name, f"Kubernetes allows {longest} characters, not {len(written)}"
        )
    return written


def kubernetes_object(name: str, setting: str) -> None:
    """Rejects an invalid name of a Kubernetes object.

    Raises:
        UsageError: It is not a DNS name.
    """
    if not _DNS_NAME.fullmatch(name) or len(name) > _LONGEST_OBJECT:
        raise _wrong(
            setting,
            name,
            "names in Kubernetes are of lower-case letters, digits, '-' and '.', and "
            "begin and end with a letter or a digit",
        )


def no_placeholders(values: Iterable[str]) -> None:
    """Rejects values with placeholders that an orchestrator would substitute.

    Argo and Kubeflow substitute `{{...}}` in a manifest, Kubernetes `$(...)` in a
    container's command, which can insert the metadata store's URL with its password.

    Raises:
        UsageError: A value has a placeholder; the message names it.
    """
    for value in values:
        for opening in ("{{", "$("):
            if opening in value:
                raise UsageError(
                    f"{value!r} has {opening!r}, which containers don't get as it is: "
                    "Argo and Kubeflow replace {{...}}, Kubernetes $(...); use another "
                    "name"
                )


def _wrong(setting: str, value: str, expected: str) -> UsageError:
    return UsageError(f"{setting} is {value!r}; {expected}")
