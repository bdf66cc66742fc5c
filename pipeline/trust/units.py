"""Changes of unit: are a column's values the baseline's times a known factor?

A client that begins to send kilometres for miles changes a feature like any drift, and
there is nothing in it to learn. What tells it apart: divided by the factor, the values
are distributed as the baseline's again. Prices that rise by a tenth, or trips that
become longer here and shorter there, are no such factor.
"""

from dataclasses import replace

from pipeline.trust.drift import binned, edges_of, jensen_shannon
from pipeline.trust.profile import Column

_PAIRS = (
    (1.609344, "miles", "kilometres"),
    (0.3048, "feet", "metres"),
    (2.54, "inches", "centimetres"),
    (0.45359237, "pounds", "kilograms"),
    (3.785411784, "gallons", "litres"),
    (24.0, "days", "hours"),
    (60.0, "minutes", "seconds"),
    (3600.0, "hours", "seconds"),
    (100.0, "whole ones", "hundredths"),
    (1000.0, "thousands", "whole ones"),
    (1e6, "millions", "whole ones"),
)
# Unchanged data doesn't come that much closer by a factor.
_CLOSER = 0.5


def changed(before: Column, after: Column, threshold: float) -> str:
    """Returns which change of unit explains that a column differs.

    Args:
        before: The baseline's column.
        after: The new one, which differs.
        threshold: The Jensen-Shannon divergence up to which they count as equal.

    Returns:
        Such as "as if kilometres were sent for miles (times 1.609)"; empty if no factor
        makes them equal, or they aren't numbers.
    """
    if not (before.numeric and after.numeric and before.present and after.present):
        return ""
    edges = edges_of(before)
    old = binned(before, edges)[:, 0]

    def distance(factor: float) -> float:
        scaled = replace(after, values=after.values.astype(float) / factor)
        return float(jensen_shannon(old, binned(scaled, edges)[:, 0]))

    units = [
        each
        for factor, one, other in _PAIRS
        for each in ((factor, one, other), (1 / factor, other, one))
    ]
    found = [(distance(factor), factor, one, other) for factor, one, other in units]
    closest, factor, one, other = min(found)
    if closest > threshold or closest > _CLOSER * distance(1.0):
        return ""
    return f"as if {other} were sent for {one} (times {factor:.4g})"
