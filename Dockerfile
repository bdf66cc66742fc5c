# The image in which Kubeflow and Argo run the nodes.
#
#   make image IMAGE=REGISTRY/throughline:1
#   docker push REGISTRY/throughline:1
#
# The server that answers requests takes no part of TFX:
#
#   docker build --target server --tag REGISTRY/throughline-server:1 .
#
# The same server for TFX's InfraValidator, which tries a model in it:
#
#   docker build --target validator --tag REGISTRY/throughline-validator:1 .
#
# Beam's workers on Flink and Spark take the nodes' with Beam's boot program:
#
#   docker build --target worker --tag REGISTRY/throughline-worker:1 .
#
# Debian 13, because the ml-metadata and TFDV wheels need its C runtime.
# It needs BuildKit (Docker 23 or newer, Podman, Buildah), for the cache mount.

# Or another image that has Python 3.11 to 3.13: make image BASE=...
ARG BASE=python:3.11-slim-trixie
# Has Beam's boot program, of the version in requirements.lock; a test keeps them the same.
ARG SDK=apache/beam_python3.11_sdk:2.77.0

FROM $BASE AS tools
# pyfarmhash is published as source only. This stage isn't part of any image.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
COPY requirements.lock /tmp/
# uv comes from the lock as well, and trusts the base's certificates, which may include a
# company's.
RUN --mount=type=cache,target=/root/.cache \
    awk '/^[a-z0-9]/ { keep = /^uv==/ } keep' /tmp/requirements.lock >/tmp/uv.txt \
    && python -m venv /tmp/tools \
    && /tmp/tools/bin/pip install --quiet --require-hashes --requirement /tmp/uv.txt \
    && python -m venv --without-pip /opt/venv
COPY environments/slim-packages /tmp/
ENV UV_LINK_MODE=copy UV_SYSTEM_CERTS=1

FROM tools AS packages
COPY requirements-run.txt /tmp/
# Bytecode makes TFX import in 9 seconds instead of 40.
RUN --mount=type=cache,target=/root/.cache \
    awk 'NR == FNR { names[$1]; next } \
        /^[a-zA-Z0-9]/ { split($1, part, "=="); keep = part[1] in names } \
        keep' /tmp/requirements-run.txt /tmp/requirements.lock >/tmp/run.txt \
    && /tmp/tools/bin/uv pip sync --python /opt/venv/bin/python \
        --require-hashes --compile-bytecode /tmp/run.txt \
    && /tmp/slim-packages /opt/venv

FROM tools AS server-packages
COPY environments/serving.lock /tmp/
RUN --mount=type=cache,target=/root/.cache \
    /tmp/tools/bin/uv pip sync --python /opt/venv/bin/python \
        --require-hashes --compile-bytecode /tmp/serving.lock \
    && /tmp/slim-packages /opt/venv

FROM $BASE AS nodes
RUN groupadd --gid 10001 throughline \
    && useradd --uid 10001 --gid 10001 --create-home throughline
# 3 GB that change with the lock file only; what changes daily is the last, small layer.
COPY --from=packages /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /opt/throughline
COPY setup.py pyproject.toml throughline.toml run_local.py run_kubeflow.py ./
COPY schema schema
COPY data data
COPY models models
COPY pipeline pipeline
COPY serving serving
COPY operations operations
RUN uv pip install --python /opt/venv/bin/python --no-cache --no-deps \
        --no-build-isolation --config-settings editable_mode=compat --editable . \
    && python -m compileall -q schema data models pipeline serving operations
USER 10001:10001
CMD ["throughline", "--help"]

# What answers requests: `throughline serve`, without TFX and Beam.
FROM $BASE AS server
RUN groupadd --gid 10001 throughline \
    && useradd --uid 10001 --gid 10001 --create-home throughline
COPY --from=server-packages /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONPATH=/opt/throughline
WORKDIR /opt/throughline
COPY throughline.toml ./
COPY schema schema
COPY models models
COPY pipeline pipeline
COPY serving serving
USER 10001:10001
EXPOSE 8500 8501
ENTRYPOINT ["python", "-m", "pipeline.cli"]
CMD ["serve", "--host", "0.0.0.0", "--output", "/mnt/throughline", \
     "--token-file", "/run/secrets/throughline/tokens"]

# The server as TFX's InfraValidator starts it to try a model: it names model and
# directory in TensorFlow Serving's variables, and sends no token.
FROM server AS validator
ENTRYPOINT ["/bin/sh", "-euc", "mkdir /tmp/output; ln -s \"$MODEL_BASE_PATH\" /tmp/output/serving; \
    exec python -m pipeline.cli serve --host 0.0.0.0 --insecure --log.off --output /tmp/output --name \"$MODEL_NAME\""]
CMD []

FROM $SDK AS sdk

FROM nodes AS worker
COPY --from=sdk /opt/apache/beam /opt/apache/beam
# Our packages are in this environment, and not in one that boot would make.
ENV RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1
USER root
# Before it starts a worker, boot asks pip which Beam there is.
RUN python -m ensurepip --default-pip
USER 10001:10001
ENTRYPOINT ["/opt/apache/beam/boot"]
