"""The metrics of each slice."""

from pipeline.artifacts import Run
from pipeline.quality.titles import TITLES
from pipeline.report.blocks import Section, Table, Text
from pipeline.report.sections.metrics import number

# A slice is judged by its rows first.
_FIRST = "example_count"


def section(run: Run) -> Section | None:
    """Tabulates the candidate's metrics by slice, the largest first."""
    if not run.has("ModelEvaluation"):
        return None
    values = run.slices()
    # Repeating the overall metrics as the only slice would suggest that slices were
    # computed.
    if len(values) < 2:  # noqa: PLR2004 - only "overall" is no slice
        return None
    # A stock pipeline may have other metrics than ours, or fewer.
    columns = [name for name in (_FIRST, *TITLES) if name in values.columns]
    columns = list(dict.fromkeys(columns))
    rows = [
        [str(name), *map(number, row)]
        for name, row in zip(values.index, values[columns].to_numpy(), strict=True)
    ]
    titles = [TITLES[name] for name in columns]
    return Section(
        "Slices",
        [
            Text(
                "A click on a column's head sorts. Few rows make any metric uncertain."
            ),
            Table(["slice", *titles], rows),
        ],
    )
