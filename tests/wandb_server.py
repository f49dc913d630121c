"""A stand-in for W&B's server on this machine: takes what is uploaded, or misbehaves as told."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import pytest

KEY = "0123456789" * 4  # as long as W&B wants them
ENTITY = "someone"

Mode = Literal["healthy", "error", "hang"]


@dataclass
class UploadedArtifact:
    """What the server was told of an artifact."""

    name: str
    kind: str
    aliases: list[str]
    metadata: dict[str, Any]
    made: bool
    files: set[str] = field(default_factory=set)
    committed: bool = False
    used: bool = False


@dataclass
class UploadedRun:
    """What the server was told of a run; of rows of the same step, the last one."""

    name: str
    config: dict[str, Any] = field(default_factory=dict)
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)
    exit_code: int | None = None

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows of the history, in order."""
        return [self.rows[step] for step in sorted(self.rows)]


def isolate(patch: pytest.MonkeyPatch, home: Path, url: str, key: str | None = None) -> None:
    """Has W&B in this process know of a server, perhaps with a login, and of nothing else.

    Args:
        patch: Undoes it.
        home: Takes the place of the user's home folder.
        url: The server's address.
        key: What to log in with.
    """
    for name in [name for name in os.environ if name.startswith(("WANDB_", "XDG_"))]:
        patch.delenv(name)
    patch.setenv("HOME", str(home))
    patch.setenv("WANDB_BASE_URL", url)
    if key is not None:
        patch.setenv("WANDB_API_KEY", key)


class WandbServer:
    """Listens on a port of this machine until the context ends.

    Args:
        mode: ``healthy`` takes everything, ``error`` answers 500 to everything, ``hang`` never
            answers; may be changed at any time.
        port: The port; 0 takes a free one.
    """

    def __init__(self, mode: Mode = "healthy", port: int = 0) -> None:
        self.mode: Mode = mode
        self.runs: dict[str, UploadedRun] = {}
        self.artifacts: dict[str, UploadedArtifact] = {}
        self.requests = 0
        self.faults: list[Exception] = []
        self.released = threading.Event()
        self._lock = threading.Lock()
        self._http = _Http(("127.0.0.1", port), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._http.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.released.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        if self.faults:
            raise ExceptionGroup("the stand-in itself has failed", self.faults)

    def made(self, kind: str) -> list[UploadedArtifact]:
        """The artifacts of a kind that were uploaded whole."""
        return [one for one in self.artifacts.values() if one.kind == kind and one.committed]

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Answers a GraphQL query; those that nobody waits for get an empty answer."""
        found = re.search(r"(?:query|mutation)\s+(\w+)", query)
        answers: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "UpsertBucket": self._upsert_run,
            "CreateRunFiles": self._create_files,
            "CreateArtifact": self._create_artifact,
            "CreateArtifactManifest": self._create_manifest,
            "CreateArtifactFiles": self._create_artifact_files,
            "CommitArtifact": self._commit_artifact,
            "UseArtifact": self._use_artifact,
            "ServerFeaturesQuery": lambda _: {"serverInfo": {"features": []}},
            "Viewer": lambda _: {"viewer": {"id": "1", "entity": ENTITY, "username": ENTITY}},
        }
        answer = answers.get(found.group(1)) if found else None
        with self._lock:
            return answer(variables) if answer else {}

    def stream(self, run: str, update: dict[str, Any]) -> None:
        """Takes a piece of a run's history, its summary, or its end."""
        files = update.get("files", {})
        uploaded = self.runs[run]
        for line in files.get("wandb-history.jsonl", {"content": []})["content"]:
            row = json.loads(line)
            uploaded.rows[row["_step"]] = row
        for text in files.get("wandb-summary.json", {"content": []})["content"]:
            uploaded.summary = json.loads(text)
        if update.get("complete"):
            uploaded.exit_code = update["exitcode"]

    def take_file(self, path: str) -> None:
        """Takes an uploaded file, whose address `_create_files` or its like has given out."""
        _, _, owner, name = path.split("/", 3)
        (self.artifacts[owner] if owner in self.artifacts else self.runs[owner]).files.add(name)

    def _upsert_run(self, variables: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.setdefault(variables["name"], UploadedRun(variables["name"]))
        if variables["config"]:
            config = json.loads(variables["config"])
            run.config = {name: one["value"] for name, one in config.items()}
        return {"upsertBucket": {"bucket": self._bucket(run, variables["project"])}}

    def _bucket(self, run: UploadedRun, project: str) -> dict[str, Any]:
        entity = {"id": "1", "name": ENTITY}
        return {
            "id": run.name,
            "name": run.name,
            "displayName": run.name,
            "project": {"id": "1", "name": project, "entity": entity},
            "historyLineCount": len(run.rows),
        }

    def _create_files(self, variables: dict[str, Any]) -> dict[str, Any]:
        files = [
            {"name": name, "uploadUrl": f"{self.url}/upload/{variables['run']}/{name}"}
            for name in variables["files"]
        ]
        return {"createRunFiles": {"runID": variables["run"], "uploadHeaders": [], "files": files}}

    def _create_artifact(self, variables: dict[str, Any]) -> dict[str, Any]:
        told = variables["input"]
        identity = f"artifact-{len(self.artifacts)}"
        self.artifacts[identity] = UploadedArtifact(
            name=told["artifactCollectionName"],
            kind=told["artifactTypeName"],
            aliases=[alias["alias"] for alias in told["aliases"] or []],
            metadata=json.loads(told["metadata"] or "{}"),
            made=told["runName"] is not None,
        )
        sequence = {"latestArtifact": None}
        artifact = {"id": identity, "state": "PENDING", "artifactSequence": sequence}
        return {"createArtifact": {"artifact": artifact}}

    def _create_manifest(self, variables: dict[str, Any]) -> dict[str, Any]:
        url = f"{self.url}/upload/{variables['artifactID']}/{variables['name']}"
        file = {"id": "1", "uploadUrl": url, "uploadHeaders": []}
        return {"createArtifactManifest": {"artifactManifest": {"id": "1", "file": file}}}

    def _create_artifact_files(self, variables: dict[str, Any]) -> dict[str, Any]:
        nodes = [
            {
                "storagePath": file["name"],
                "uploadUrl": f"{self.url}/upload/{file['artifactID']}/{file['name']}",
                "uploadHeaders": [],
                "uploadMultipartUrls": None,
                "artifact": {"id": file["artifactID"]},
            }
            for file in variables["input"]["artifactFiles"]
        ]
        return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}

    def _commit_artifact(self, variables: dict[str, Any]) -> dict[str, Any]:
        self.artifacts[variables["artifactID"]].committed = True
        artifact = {"id": variables["artifactID"], "digest": ""}
        return {"commitArtifact": {"artifact": artifact}}

    def _use_artifact(self, variables: dict[str, Any]) -> dict[str, Any]:
        identity = variables["input"]["artifactID"]
        self.artifacts[identity].used = True
        return {"useArtifact": {"artifact": {"id": identity}}}


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    owner: WandbServer

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401, ARG002
        """Keeps the error, unless a client has hung up."""
        error = sys.exception()
        if isinstance(error, Exception) and not isinstance(error, ConnectionError):
            self.owner.faults.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Http

    def do_GET(self) -> None:
        self._take()

    def do_POST(self) -> None:
        self._take()

    def do_PUT(self) -> None:
        self._take()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401
        """Says nothing."""

    def _take(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        owner = self.server.owner
        owner.requests += 1
        if owner.mode == "error":
            self._send(500, {"error": "out of order"})
        elif owner.mode == "hang":
            owner.released.wait()
        else:
            self._send(200, self._accepted(owner, body))

    def _accepted(self, owner: WandbServer, body: bytes) -> dict[str, Any]:
        if self.path == "/graphql":
            asked = json.loads(body)
            return {"data": owner.answer(asked["query"], asked.get("variables") or {})}
        if self.path.endswith("/file_stream"):
            owner.stream(self.path.split("/")[-2], json.loads(body))
        if self.path.startswith("/upload/"):
            owner.take_file(self.path)
        return {}

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
