"""Declares the groups of rows whose errors are compared. Replace it with your own.

The sample joins the 77 community areas of the pick-up into the nine sides of Chicago,
as the City's Department of Planning and the Chicago Data Portal list the areas. A taxi
trip has no rider's attributes; where it began is the nearest that the data has to who
is affected by a wrong prediction. Importing this imports the standard library only.
"""

from collections.abc import Mapping

from models import features
from models.declarations import Group

SIDES: Mapping[str, tuple[int, ...]] = {
    "Central": (8, 32, 33),
    "North": (5, 6, 7, 21, 22),
    "Far North": (1, 2, 3, 4, 9, 10, 11, 12, 13, 14, 76, 77),
    "Northwest": (15, 16, 17, 18, 19, 20),
    "West": (23, 24, 25, 26, 27, 28, 29, 30, 31),
    "South": (34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 60, 69),
    "Southwest": (56, 57, 58, 59, 61, 62, 63, 64, 65, 66, 67, 68),
    "Far Southeast": (44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55),
    "Far Southwest": (70, 71, 72, 73, 74, 75),
}
"""The community areas of each side of Chicago, by their numbers."""

GROUPS: tuple[Group, ...] = (
    Group("pickup_side", features.PICKUP_COMMUNITY_AREA, SIDES),
)
"""Every grouping whose error rates are compared in the evaluation."""
