# syntax=docker/dockerfile:1
# `textmill serve` for processors, without torch. Two images come from this file:
#   docker build --tag textmill .                                    the bundle is mounted at /bundle
#   docker build --tag textmill-1 --target baked \
#     --build-arg BUNDLE=bundles/1 .                                 the bundle is in the image
# docs/deploying.md shows how to run them.

# A tag can move. To build from the same image for ever, look its digest up with
# `docker buildx imagetools inspect python:3.12-slim-bookworm`, and build with
# --build-arg PYTHON_IMAGE=python:3.12-slim-bookworm@sha256:DIGEST
ARG PYTHON_IMAGE=python:3.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS builder
WORKDIR /source
COPY constraints.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint constraints.txt setuptools \
    && python -m venv --without-pip /opt/textmill
COPY pyproject.toml README.md LICENSE ./
COPY src src
# serve,openvino for bundles that are to be computed in bfloat16
ARG EXTRAS=serve
RUN --mount=type=cache,target=/root/.cache/pip \
    pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
    && wheel="$(echo /dist/textmill-*.whl)" \
    && pip --python /opt/textmill/bin/python install --constraint constraints.txt "${wheel}[${EXTRAS}]"

FROM ${PYTHON_IMAGE} AS base
LABEL org.opencontainers.image.title="Textmill" \
      org.opencontainers.image.description="Answers over HTTP which label a text has" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=builder /opt/textmill /opt/textmill
# Nothing is written but to /tmp, so that the root file system can be read only.
ENV PATH=/opt/textmill/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp
WORKDIR /tmp
# By number, so that Kubernetes can see that it isn't root.
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# Not by urlopen, which would ask a proxy that is set for all containers.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-I", "-c", "import urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:8000/healthz', timeout=4)"]
# Without an API key it doesn't start: other machines can reach it.
ENTRYPOINT ["textmill", "serve", "--host", "0.0.0.0", "--port", "8000"]
CMD ["/bundle"]

FROM base AS baked
ARG BUNDLE=bundles/1
COPY ${BUNDLE} /bundle
# No image is made of a bundle that is not what was trained.
RUN ["textmill", "verify", "/bundle"]

FROM base AS service
