"""A bundle over HTTP: `supervisor` starts workers, each a `worker` with its own `application`.

Nothing here is imported before a bundle is to be served; what it is built on, FastAPI, uvicorn and
Prometheus' client, comes with the extra ``serve``.
"""
