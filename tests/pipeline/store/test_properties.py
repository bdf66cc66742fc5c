"""Property names: ours collide with none, and TFX's are those that TFX reads."""

import pytest
from tfx.components.evaluator import constants as evaluator
from tfx.components.example_gen import utils as example_gen
from tfx.components.pusher import executor as pusher

from pipeline.store import properties

NAMES = {
    name: value
    for name, value in vars(properties).items()
    if name.isupper() and isinstance(value, str)
}


def test_no_two_properties_have_one_name() -> None:
    """A property is never overwritten by another one."""
    assert len(NAMES) > 15
    assert len(set(NAMES.values())) == len(NAMES)


def test_standard_properties_have_the_names_that_tfx_gives_them() -> None:
    """What TFX's components write is found under these names, and the reverse."""
    assert properties.SPAN == example_gen.SPAN_PROPERTY_NAME
    assert properties.FINGERPRINT == example_gen.FINGERPRINT_PROPERTY_NAME
    assert properties.BLESSED == evaluator.ARTIFACT_PROPERTY_BLESSED_KEY
    assert (
        properties.BLESSED_MODEL_ID == evaluator.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY
    )
    assert properties.PUSHED == pusher._PUSHED_KEY
    assert properties.PUSHED_VERSION == pusher._PUSHED_VERSION_KEY
    assert properties.PUSHED_DESTINATION == pusher._PUSHED_DESTINATION_KEY


def test_properties_of_our_runner_are_no_parameters() -> None:
    """What the runner adds to an execution has the prefix that lineage leaves out."""
    added = (properties.KEY, properties.OUTPUTS, properties.DIRECTORY)

    assert all(name.startswith(properties.OURS) for name in added)


@pytest.mark.parametrize("length", [0, 10, properties.LONGEST, 9_999])
def test_long_texts_are_divided_and_joined(length: int) -> None:
    """What is read is what was written, beside values of other kinds."""
    text = "".join(chr(97 + n % 26) for n in range(length))

    stored = properties.divided("a", text)

    assert max(map(len, stored.values())) <= properties.LONGEST
    assert properties.joined({**stored, "b": 1}) == {"a": text, "b": 1}
