"""Rules as texts."""

import pytest

from pipeline.errors import UsageError
from pipeline.quality.rules import Kind, Rule, metrics_of, parse, parse_for


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("auc >= 0.9", Rule("auc", Kind.AT_LEAST, 0.9)),
        ("log_loss <= 0.3", Rule("log_loss", Kind.AT_MOST, 0.3)),
        ("auc loss <= 0.005", Rule("auc", Kind.LOSS, 0.005)),
        ("recall by company >= .5", Rule("recall", Kind.AT_LEAST, 0.5, ("company",))),
        (
            " auc by a, b loss<=1e-2 ",
            Rule("auc", Kind.LOSS, 0.01, ("a", "b")),
        ),
        (
            "selection_rate by side gap <= 0.2",
            Rule("selection_rate", Kind.GAP, 0.2, ("side",)),
        ),
        (
            "rmse by town loss <= 20%",
            Rule("rmse", Kind.LOSS, 0.2, ("town",), relative=True),
        ),
        (
            "mae by Мест в ряду gap <= 50 %",
            Rule("mae", Kind.GAP, 0.5, ("Мест в ряду",), relative=True),
        ),
        (
            "recall of heavy rain >= 0.5",
            Rule("recall of heavy rain", Kind.AT_LEAST, 0.5),
        ),
        (
            "selection_rate of 3 by side gap <= 0.2",
            Rule("selection_rate of 3", Kind.GAP, 0.2, ("side",)),
        ),
    ],
)
def test_rules_are_read_and_written(text: str, rule: Rule) -> None:
    """A rule's own text is read as the same rule."""
    assert parse(text) == rule
    assert parse(str(rule)) == rule


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("auc", "is no rule; write METRIC"),
        ("auc > 0.9", "is no rule"),
        ("auc >= 0.9.9", "ends with no number"),
        ("auk >= 0.9", "is about 'auk'; expected auc, accuracy"),
        ("auc loss >= 0.1", "a loss is at most something; write <="),
        ("selection_rate loss <= 0.1", "is neither better nor worse if it is larger"),
        ("recall gap <= 0.1", "a gap is between slices; say by which column"),
        ("auc >= 50%", "only a loss and a gap can be a share"),
        ("auc of rain >= 0.5", "is about 'auc'; expected recall, precision"),
        ("mean_error loss <= 1", "is neither better nor worse if it is larger"),
    ],
)
def test_what_is_no_rule_is_told(text: str, said: str) -> None:
    """The message has the text, and what was expected."""
    with pytest.raises(UsageError) as refused:
        parse(text)

    assert str(refused.value).startswith(repr(text))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("text", "task", "classes", "said"),
    [
        ("auc >= 0.9", "regression", (), "it has r2, rmse, mae, mean_error"),
        ("rmse <= 3", "binary", (), "it has auc, accuracy, precision"),
        ("recall of fog >= 0.5", "classes", ("sun", 3), "recall, precision, selection"),
        ("auc >= 0.5", "classes", tuple(range(101)), "accuracy_gain, log_loss"),
    ],
)
def test_rules_are_about_the_task_s_metrics(
    text: str, task: str, classes: tuple[object, ...], said: str
) -> None:
    """The message has what there is; what there is, is accepted."""
    with pytest.raises(UsageError, match=f"kind {task}, doesn't have; it has") as error:
        parse_for(text, task, classes)

    assert said in str(error.value)
    for metric in metrics_of(task, classes):
        assert parse_for(f"{metric} <= 1", task, classes).metric == metric
