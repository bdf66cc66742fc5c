"""Compiles the pipeline for Kubeflow Pipelines; `--submit` also runs it there.

    python run_kubeflow.py
    python run_kubeflow.py --image REGISTRY/throughline:1 --submit --host URL

Takes about fifteen seconds, and writes compiled/kubeflow.yaml. docs/kubeflow.md lists
what the cluster needs.
"""

import sys

from pipeline import cli


def main() -> int:
    """Parses the flags and compiles the pipeline; returns the exit code."""
    return cli.compile_for_kubeflow("run_kubeflow.py", sys.argv[1:])


if __name__ == "__main__":
    sys.exit(cli.exit_code(main))
