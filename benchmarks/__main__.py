"""Runs benchmarks against stock TFX: `python -m benchmarks WHAT [FLAGS]`."""

import sys

from benchmarks import (
    analysis,
    engines,
    ingestion,
    models,
    pipeline,
    prediction,
    results,
    scale_model,
    serving,
    spans,
    warm_start,
)

_BENCHMARKS = {
    "pipeline": pipeline.main,
    "ingestion": ingestion.main,
    "predict": prediction.main,
    "models": models.main,
    "serving": serving.main,
    "spans": spans.main,
    "warm-start": warm_start.main,
    "engines": engines.main,
    "scale": scale_model.main,
    "analysis": analysis.main,
    "readme": results.main,
}


def main(arguments: list[str]) -> int:
    """Runs the benchmark that the first argument names."""
    what, *rest = arguments or ["--help"]
    if what not in _BENCHMARKS:
        names = "|".join(_BENCHMARKS)
        print(f"usage: python -m benchmarks {{{names}}} [FLAGS]", file=sys.stderr)
        return 0 if what in {"-h", "--help"} else 2
    return _BENCHMARKS[what](rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
