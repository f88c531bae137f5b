"""A server on this machine that answers what huggingface_hub asks of the Hugging Face Hub."""

import base64
import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_stand_in"


class HubStandIn(ThreadingHTTPServer):
    """Repositories in memory.

    Attributes:
        commits: the files of each commit, by repository and commit.
        revisions: the commits of branches and tags, by repository and name.
        asked: each request so far, such as "GET /api/models/someone/agent".
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.commits: dict[str, dict[str, dict[str, bytes]]] = {}
        self.revisions: dict[str, dict[str, str]] = {}
        self.large: dict[str, bytes] = {}
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def add(self, repo: str, files: dict[str, bytes], *revisions: str) -> str:
        """Add a commit to the main branch and to other revisions; return its number."""
        commits = self.commits.setdefault(repo, {})
        commit = hashlib.sha1(f"{repo} {len(commits)}".encode()).hexdigest()
        commits[commit] = files
        self.revisions.setdefault(repo, {}).update(dict.fromkeys(("main", *revisions), commit))
        return commit

    def files(self, repo: str) -> dict[str, bytes]:
        """Return the newest files of a repository."""
        return self.commits[repo][self.revisions[repo]["main"]]


class _Handler(BaseHTTPRequestHandler):
    server: HubStandIn

    def log_message(self, *_: Any) -> None:
        """Say nothing on standard error."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/?]+))?", self.path):
            if commit := self.commit(found[1], found[2] or "main"):
                names = self.server.commits[found[1]][commit]
                self.answer({"id": found[1], "sha": commit, "siblings": [{"rfilename": name} for name in names]})
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path):
            if commit := self.commit(found[1], found[2]):
                content = self.server.commits[found[1]][commit].get(found[3])
                if content is None:
                    self.refuse(404, "EntryNotFound")
                else:
                    self.send(content, etag=f'"{hashlib.sha256(content).hexdigest()}"', x_repo_commit=commit)
        else:
            self.refuse(404, "RepoNotFound")

    def do_POST(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        body = self.body()
        if self.path == "/api/validate-yaml":
            wrong = 'license: "nonsense"' in json.loads(body)["content"]
            errors = [{"message": '"license" is not one\nof those known'}] if wrong else []
            self.answer({"errors": errors, "warnings": []}, 400 if wrong else 200)
        elif self.headers["Authorization"] != f"Bearer {TOKEN}":
            self.refuse(401, "", "Invalid username or password.")
        elif self.path == "/api/repos/create":
            asked = json.loads(body)
            repo = f"{asked['organization']}/{asked['name']}"
            self.answer({"url": f"{self.server.url}/{repo}"}, 409 if repo in self.server.commits else 200)
            self.server.commits.setdefault(repo, {})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", self.path):
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = {name: "lfs" if name.endswith(".safetensors") else "regular" for name in names}
            files = [{"path": name, "uploadMode": mode, "shouldIgnore": False} for name, mode in modes.items()]
            self.answer({"files": files})
        elif self.path.endswith(".git/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            for each in objects:
                each["actions"] = {"upload": {"href": f"{self.server.url}/large/{each['oid']}"}}
            self.answer({"transfer": "basic", "objects": objects})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", self.path):
            commit = self.take(found[1], [json.loads(line) for line in body.splitlines()])
            self.answer({"commitOid": commit, "commitUrl": f"{self.server.url}/{found[1]}/commit/{commit}"})
        else:
            self.refuse(404, "RepoNotFound")

    def do_PUT(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        content = self.body()
        assert self.path == f"/large/{hashlib.sha256(content).hexdigest()}"
        self.server.large[self.path.rpartition("/")[2]] = content
        self.send(b"")

    def body(self) -> bytes:
        """Return what was sent, also if it comes in chunks."""
        if "Content-Length" in self.headers:
            return self.rfile.read(int(self.headers["Content-Length"]))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def take(self, repo: str, lines: list[dict[str, Any]]) -> str:
        """Add the commit that a client sent."""
        sent = {line["value"]["path"]: line for line in lines if line["key"] in ("file", "lfsFile")}
        files = {
            name: base64.b64decode(line["value"]["content"])
            if line["key"] == "file"
            else self.server.large[line["value"]["oid"]]
            for name, line in sent.items()
        }
        return self.server.add(repo, files)

    def commit(self, repo: str, revision: str) -> str | None:
        """Return the number of a commit, or refuse the request and return None."""
        known = self.server.revisions.get(repo)
        if known is None:
            self.refuse(404, "RepoNotFound")
            return None
        found = revision if revision in self.server.commits[repo] else known.get(revision)
        if found is None:
            self.refuse(404, "RevisionNotFound")
        return found

    def answer(self, content: Any, status: int = 200) -> None:
        self.send(json.dumps(content).encode(), status, content_type="application/json")

    def refuse(self, status: int, code: str, message: str = "Not here.") -> None:
        self.send(message.encode(), status, x_error_code=code, x_error_message=message)

    def send(self, content: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
