"""A hub on loopback: as much of its API as models and datasets are downloaded by.

Routes and headers are those of huggingface_hub's client: info, tree, paths-info and resolve.
"""

from __future__ import annotations

import base64
import hashlib
import json
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LATEST = "main"


@dataclass(frozen=True)
class Repository:
    """Folders by the names of revisions; `main` is what is read without one."""

    revisions: Mapping[str, Path]

    def resolved(self, revision: str) -> tuple[str, Path] | None:
        """Commit and folder of a branch, tag or commit."""
        for name, folder in self.revisions.items():
            commit = commit_of(folder)
            if revision in (name, commit):
                return commit, folder
        return None


def commit_of(folder: Path) -> str:
    """A name for what a folder holds, that looks like one of git's."""
    digest = hashlib.sha1()
    for path in files_of(folder):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@dataclass
class Hub:
    """A running server.

    Attributes:
        url: for HF_ENDPOINT.
        asked: paths of the requests, in order.
        tokens: what was sent as authorization.
        uploads: folder of what is created.
        private: whether it is, by the names of repositories that were created.
    """

    url: str
    uploads: Path | None
    asked: list[str] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)
    private: dict[str, bool] = field(default_factory=dict)


class Handler(BaseHTTPRequestHandler):
    """Answers for the repositories of its server, a dict by kind ("models") and id."""

    protocol_version = "HTTP/1.1"
    repositories: dict[tuple[str, str], Repository]
    hub: Hub

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = self._parts()
        if parts == ["api", "repos", "create"]:
            return self._create(json.loads(content))
        if parts == ["api", "validate-yaml"]:
            return self._json({"errors": [], "warnings": []})
        if parts[4:] in (["preupload", LATEST], ["commit", LATEST]):
            return self._receive(parts, content)
        form = parse_qs(content.decode())
        found = self._repository(parts[1:])
        if found is None or parts[4] != "paths-info":
            return self._refuse("RepoNotFound")
        _, folder = found
        listed = [_entry(folder, folder / name) for name in form.get("paths", [])]
        return self._json([each for each in listed if each])

    def _create(self, wanted: Mapping[str, Any]) -> None:
        """Makes a repository; the files of private ones are kept as others'."""
        name = "/".join(filter(None, (wanted.get("organization"), wanted["name"])))
        if ("models", name) in self.repositories:
            return self._send(409, b"", {"X-Error-Message": "You already created this repo"})
        folder = Path(tempfile.mkdtemp(dir=self.hub.uploads))
        self.hub.private[name] = "private" in (
            wanted.get("visibility"),
            wanted.get("private") and "private",
        )
        self.repositories["models", name] = Repository({LATEST: folder})
        return self._json({"url": f"{self.hub.url}/{name}", "name": name})

    def _receive(self, parts: list[str], content: bytes) -> None:
        """Says that every file is to be part of the commit, and takes it."""
        repository = self.repositories["models", "/".join(parts[2:4])]
        if parts[4] == "preupload":
            files = json.loads(content)["files"]
            modes = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files
            ]
            return self._json({"files": modes})
        for line in map(json.loads, content.splitlines()):
            if line["key"] == "file":
                path = repository.revisions[LATEST] / line["value"]["path"]
                path.write_bytes(base64.b64decode(line["value"]["content"]))
        commit, url = commit_of(repository.revisions[LATEST]), "/".join(parts[2:4])
        return self._json(
            {"commitUrl": f"{self.hub.url}/{url}/commit/{commit}", "commitOid": commit}
        )

    def _answer(self, *, body: bool) -> None:
        parts = self._parts()
        if not parts:
            self._send(200, b"", {}, body=body)
        elif parts[0] == "api":
            self._api(parts[1:])
        else:
            self._file(parts, body=body)

    def _parts(self) -> list[str]:
        path = urlsplit(self.path).path
        self.hub.asked.append(f"{self.command} {path}")
        self.hub.tokens.add(self.headers.get("Authorization"))
        return [unquote(part) for part in path.strip("/").split("/") if part]

    def _api(self, parts: list[str]) -> None:
        """models/org/name[/revision/REVISION], or models/org/name/tree/REVISION[/FOLDER]."""
        found = self._repository(parts)
        if found is None:
            return
        commit, folder = found
        if len(parts) > 3 and parts[3] == "tree":
            top = folder / PurePosixPath(*parts[5:])
            deep = "recursive=True" in self.path or "recursive=true" in self.path
            paths = sorted(top.rglob("*") if deep else top.iterdir()) if top.is_dir() else []
            return self._json([_entry(folder, path) for path in paths])
        names = [str(path.relative_to(folder)) for path in files_of(folder)]
        siblings = [{"rfilename": name} for name in names]
        name = "/".join(parts[1:3])
        return self._json(
            {"id": name, "sha": commit, "siblings": siblings, "private": False, "tags": []}
        )

    def _file(self, parts: list[str], *, body: bool) -> None:
        """[datasets/]org/name/resolve/REVISION/FILE."""
        kind = "datasets" if parts[0] == "datasets" else "models"
        rest = parts[1:] if kind == "datasets" else parts
        found = self._repository([kind, *rest])
        if found is None:
            return
        commit, folder = found
        path = folder / PurePosixPath(*rest[4:])
        if not path.is_file():
            return self._refuse("EntryNotFound", {"X-Repo-Commit": commit})
        content = path.read_bytes()
        headers = {
            "X-Repo-Commit": commit,
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "Accept-Ranges": "bytes",
        }
        status, wanted = 200, self.headers.get("Range")
        if wanted is not None and body:
            first, last = wanted.removeprefix("bytes=").split("-")
            start, end = int(first), min(int(last or len(content)), len(content) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
            status, content = 206, content[start : end + 1]
        return self._send(status, content, headers, body=body)

    def _repository(self, parts: list[str]) -> tuple[str, Path] | None:
        """Commit and folder that a request is about; answers it if there is none."""
        repository = self.repositories.get((parts[0], "/".join(parts[1:3])))
        if repository is None:
            self._refuse("RepoNotFound")
            return None
        found = repository.resolved(parts[4] if len(parts) > 4 else LATEST)
        if found is None:
            self._refuse("RevisionNotFound")
        return found

    def _json(self, content: Any) -> None:
        self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _refuse(self, code: str, headers: Mapping[str, str] = {}) -> None:
        self._send(404, b"", {"X-Error-Code": code, **headers})

    def _send(
        self, status: int, content: bytes, headers: Mapping[str, str], *, body: bool = True
    ) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body and self.command != "HEAD":
            self.wfile.write(content)


def _entry(folder: Path, path: Path) -> dict[str, Any] | None:
    """A file or folder as the hub lists it."""
    name = str(path.relative_to(folder))
    if path.is_dir():
        return {"type": "directory", "path": name, "oid": "0" * 40, "size": 0}
    if not path.is_file():
        return None
    content = path.read_bytes()
    return {
        "type": "file",
        "path": name,
        "size": len(content),
        "oid": hashlib.sha1(content).hexdigest(),
    }


@contextmanager
def hub_on_loopback(
    repositories: Mapping[tuple[str, str], Repository], uploads: Path | None = None
) -> Iterator[Hub]:
    """A server of these repositories, for as long as the block lasts."""
    handler = type("Served", (Handler,), {"repositories": dict(repositories)})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub = Hub(f"http://127.0.0.1:{server.server_port}", uploads)
        handler.hub = hub  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
