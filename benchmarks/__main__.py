"""Runs benchmarks against stock TFX: `python -m benchmarks WHAT [FLAGS]`."""

import importlib
import sys

# Imported when they are asked for: TFMA sets TF_USE_LEGACY_KERAS in the environment,
# which the measured programs would inherit.
_BENCHMARKS = {
    "pipeline": "pipeline",
    "ingestion": "ingestion",
    "predict": "prediction",
    "models": "models",
    "serving": "serving",
    "spans": "spans",
    "warm-start": "warm_start",
    "engines": "engines",
    "scale": "scale_model",
    "analysis": "analysis",
    "quarters": "quarters",
    "readme": "results",
}


def main(arguments: list[str]) -> int:
    """Runs the benchmark that the first argument names."""
    what, *rest = arguments or ["--help"]
    if what not in _BENCHMARKS:
        names = "|".join(_BENCHMARKS)
        print(f"usage: python -m benchmarks {{{names}}} [FLAGS]", file=sys.stderr)
        return 0 if what in {"-h", "--help"} else 2
    code: int = importlib.import_module(f"benchmarks.{_BENCHMARKS[what]}").main(rest)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
