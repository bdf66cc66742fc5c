"""Compiles the pipeline for Kubeflow Pipelines, and runs it there if asked to.

    python run_kubeflow.py
    python run_kubeflow.py --image REGISTRY/throughline:1 --submit --host URL

Takes about fifteen seconds and writes compiled/kubeflow.yaml. docs/kubeflow.md says
what the cluster needs.
"""

import sys

from pipeline import cli, create_pipeline
from pipeline.runners import kubeflow


def main() -> int:
    """Flags, configuration, pipeline, runner; returns the exit code."""
    config, options = cli.parse(
        "run_kubeflow.py", sys.argv[1:], kubeflow.Options(), preset="kubeflow"
    )
    return kubeflow.run(config, options, create_pipeline)


if __name__ == "__main__":
    sys.exit(cli.exit_code(main))
