"""The metrics of each slice."""

from pipeline.artifacts import Run
from pipeline.report.blocks import Section, Table, Text
from pipeline.report.sections.metrics import TITLES, number

_SHOWN = (
    "example_count",
    "auc",
    "auc_precision_recall",
    "binary_accuracy",
    "binary_crossentropy",
    "calibration",
    "mean_label",
    "mean_prediction",
)


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
    columns = [name for name in _SHOWN if name in values.columns]
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
