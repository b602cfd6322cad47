"""A model hub of one process, as far as its client library asks: what is pushed can be pulled."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


class FakeHub:
    """Repositories in memory; every commit keeps the files that it had."""

    def __init__(self) -> None:
        self.private: dict[str, bool] = {}
        self.commits: dict[str, list[tuple[str, dict[str, bytes]]]] = {}

    def commit(self, repository: str, files: dict[str, bytes]) -> str:
        commits = self.commits.setdefault(repository, [])
        sha = hashlib.sha1(f"{repository}{len(commits)}".encode()).hexdigest()
        commits.append((sha, files))
        return sha

    def files(self, repository: str, revision: str = "main") -> tuple[str, dict[str, bytes]] | None:
        commits = self.commits.get(repository, [])
        if revision == "main":
            return commits[-1] if commits else None
        return next((each for each in commits if each[0] == revision), None)


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def answer(self, value: object, status: int = 200, **headers: str) -> None:
            body = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            for name, text in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name.replace("_", "-"), text)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def absent(self, code: str) -> None:
            self.answer({"error": code}, 404, X_Error_Code=code)

        def do_GET(self) -> None:
            parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
            if parts[:2] == ["api", "models"]:
                repository, rest = "/".join(parts[2:4]), parts[4:]
            else:
                repository, rest = "/".join(parts[:2]), parts[2:]
            if repository not in hub.private:
                return self.absent("RepoNotFound")
            revision = rest[1] if len(rest) > 1 else "main"
            found = hub.files(repository, revision)
            if found is None and rest and rest[0] != "tree":
                return self.absent("RevisionNotFound")
            sha, files = found or ("", {})
            if rest and rest[0] == "tree":
                tree = [
                    {
                        "type": "file",
                        "path": name,
                        "size": len(data),
                        "oid": hashlib.sha1(data).hexdigest(),
                    }
                    for name, data in files.items()
                ]
                return self.answer(tree)
            if rest and rest[0] == "resolve":
                name = "/".join(rest[2:])
                if name not in files:
                    return self.absent("EntryNotFound")
                etag = f'"{hashlib.sha1(files[name]).hexdigest()}"'
                return self.answer(files[name], X_Repo_Commit=sha, ETag=etag)
            info = {
                "id": repository,
                "sha": sha or None,
                "private": hub.private[repository],
                "siblings": [{"rfilename": name} for name in files],
            }
            return self.answer(info)

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            parts = urlsplit(self.path).path.strip("/").split("/")
            if parts == ["api", "validate-yaml"]:
                return self.answer({"errors": [], "warnings": []})
            if parts == ["api", "repos", "create"]:
                asked = json.loads(body)
                name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
                if name.startswith("others/"):
                    return self.answer({"error": "not yours"}, 403)
                if name in hub.private:
                    return self.answer(
                        {"error": "exists", "url": f"http://{self.headers['Host']}/{name}"}, 409
                    )
                private = asked.get("private") or asked.get("visibility") == "private"
                hub.private[name] = bool(private)
                return self.answer({"url": f"http://{self.headers['Host']}/{name}"})
            repository = "/".join(parts[2:4])
            if parts[4] == "preupload":
                paths = [file["path"] for file in json.loads(body)["files"]]
                modes = [
                    {"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in paths
                ]
                return self.answer({"files": modes})
            found = hub.files(repository)
            files = dict(found[1]) if found else {}
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                elif line["key"] == "deletedFile":
                    del files[line["value"]["path"]]
            sha = hub.commit(repository, files)
            url = f"http://{self.headers['Host']}/{repository}/commit/{sha}"
            return self.answer({"success": True, "commitOid": sha, "commitUrl": url})

    return Handler


@contextmanager
def serving(hub: FakeHub) -> Iterator[str]:
    """The hub's address while the body runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
