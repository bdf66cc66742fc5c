"""The declared groups."""

from models.groups import GROUPS, SIDES


def test_each_community_area_is_in_one_side() -> None:
    """All 77 areas are mapped, none of them twice."""
    areas = [area for side in SIDES.values() for area in side]

    assert sorted(areas) == list(range(1, 78))
    assert len(SIDES) == 9


def test_groupings_have_names_of_their_own() -> None:
    """A rule names a grouping like a column, so no two may share a name."""
    names = [group.name for group in GROUPS]

    assert len(set(names)) == len(names)
    assert set(names).isdisjoint({group.column for group in GROUPS})
