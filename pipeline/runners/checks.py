"""Checks at compile time of settings that an orchestrator would only reject later.

They run before TFX is imported, and so within a second.
"""

import re
import zoneinfo
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.errors import UsageError

_MACROS = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly")
_MONTHS = (
    *("jan", "feb", "mar", "apr", "may", "jun"),
    *("jul", "aug", "sep", "oct", "nov", "dec"),
)
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST = dict.fromkeys(range(1, 13), 31) | dict.fromkeys((4, 6, 9, 11), 30) | {2: 29}
_PART = re.compile(
    r"(?:\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>\d+))?", re.ASCII
)

_CPU = re.compile(r"\d+(?:\.\d{1,3})?|\d+m", re.ASCII)
# Units that Kubernetes and kfp share; they spell kilobytes differently.
_MEMORY = re.compile(r"\d+[MGTPE]i?", re.ASCII)
_DNS_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")
_DNS_NAME = re.compile(rf"{_DNS_LABEL.pattern}(?:\.{_DNS_LABEL.pattern})*")
_LONGEST_NAME = 63
_LONGEST_OBJECT = 253


@dataclass(frozen=True)
class _Field:
    """A field of a cron schedule.

    Attributes:
        name: Its name in messages.
        low: Its lowest value.
        high: Its highest value.
        names: Names of its values, from the lowest, such as "jan".
    """

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def values(self, text: str) -> set[int]:
        """Returns the values that a field's text selects.

        Raises:
            ValueError: The text is malformed; the message describes how.
        """
        return {value for part in text.split(",") for value in self._range(part)}

    def _range(self, part: str) -> range:
        found = _PART.fullmatch(part)
        if not found:
            raise ValueError(f"{part!r} is no {self.name}")
        first, last, step = found["first"], found["last"], found["step"]
        low = self._number(first) if first else self.low
        high = self._number(last or first) if first else self.high
        if low > high:
            raise ValueError(f"{part!r} ends before it begins")
        if step and first and not last:
            raise ValueError(f"{part!r} has a step and is no range")
        if step and not 1 <= int(step) <= self.high:
            raise ValueError(f"{part!r} has a step that is not 1 to {self.high}")
        return range(low, high + 1, int(step or 1))

    def _number(self, word: str) -> int:
        if word.lower() in self.names:
            return self.low + self.names.index(word.lower())
        if not word.isdecimal() or not self.low <= int(word) <= self.high:
            raise ValueError(f"{word!r} is no {self.name}, {self.low} to {self.high}")
        return int(word)


# Sunday is 0, because Argo's parser doesn't take 7.
_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 6, _DAYS),
)


def at_least(settings: object, least: int, *names: str) -> None:
    """Rejects fields of a dataclass that are below a minimum.

    Args:
        settings: The dataclass.
        least: The lowest allowed value.
        *names: Names of the fields.

    Raises:
        UsageError: One of them is lower.
    """
    for name in names:
        if (value := getattr(settings, name)) < least:
            flag = name.replace("_", "-")
            raise UsageError(f"{flag} is {value}; it must be at least {least}")


def schedule(text: str) -> None:
    """Rejects a schedule that Argo's or Airflow's parser would not accept.

    Accepted is what both have in common: five fields of `*`, numbers, ranges, lists,
    names of months and days, and steps of `*` or of a range; or one of cron's macros.
    Sunday is 0.

    Args:
        text: The schedule in cron's format.

    Raises:
        UsageError: It is malformed, or selects a day that doesn't exist.
    """
    if text in _MACROS:
        return
    parts = text.split()
    if len(parts) != len(_FIELDS):
        names = ", ".join(field.name for field in _FIELDS)
        raise _wrong(
            "schedule",
            text,
            f"it must have five fields ({names}), or be one of {', '.join(_MACROS)}",
        )
    try:
        _, _, days, months, weekdays = (
            field.values(part) for field, part in zip(_FIELDS, parts, strict=True)
        )
    except ValueError as error:
        raise _wrong("schedule", text, str(error)) from None
    # If both the day of the month and the day of the week are restricted, cron runs
    # when either matches, so an impossible day of the month does no harm.
    any_weekday = len(weekdays) == len(_DAYS)
    if any_weekday and min(days) > max(_LONGEST[month] for month in months):
        raise _wrong("schedule", text, f"none of its months has a day {min(days)}")


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
        setting: What has the name, or the flag that gave it, for the message.
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
