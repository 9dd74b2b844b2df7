"""As much of a Kubernetes API server as Helm needs to install, upgrade, roll back and remove a release.

Objects are kept and nothing is made of them: there are no pods. It refuses what a real one refuses an upgrade: a change
of a selector, of a StatefulSet's claims and of a Service's address.
"""

from __future__ import annotations

import itertools
import json
import re
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.fakes.served import served
from tests.helm.cluster.protobuf import secret_of

Object = dict[str, Any]

KINDS = {
    "v1": ("Secret", "ConfigMap", "Service", "Pod", "ServiceAccount"),
    "apps/v1": ("Deployment", "StatefulSet"),
    "autoscaling/v2": ("HorizontalPodAutoscaler",),
    "policy/v1": ("PodDisruptionBudget",),
    "networking.k8s.io/v1": ("NetworkPolicy", "Ingress"),
    "monitoring.coreos.com/v1": ("ServiceMonitor", "PodMonitor", "PrometheusRule"),
    "keda.sh/v1alpha1": ("ScaledObject",),
    "gateway.networking.k8s.io/v1": ("HTTPRoute",),
}
FIXED = {
    "Deployment": ("selector",),
    "StatefulSet": ("selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates"),
    "Service": ("clusterIP",),
}
_PATH = re.compile(r"/apis?/(?:[^/]+/)?[^/]+/namespaces/[^/]+/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?")


class Refused(Exception):
    """What the server will not do: a status and a reason."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class Cluster(ThreadingHTTPServer):
    """The server, and the objects by kind and name."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.objects: dict[tuple[str, str], Object] = {}
        self._versions = itertools.count(1)

    def put(self, plural: str, given: Object) -> Object:
        """Keep an object, in place of the one of its name. Raises Refused where it may not change so."""
        name = given["metadata"]["name"]
        before = self.objects.get((plural, name))
        for field in FIXED.get(given["kind"], ()) if before else ():
            if before and before["spec"].get(field) != given["spec"].get(field):
                raise Refused(422, "Invalid", f"{given['kind']}/{name}: spec.{field}: field is immutable")
        version = str(next(self._versions))
        uid = before["metadata"]["uid"] if before else f"uid-{version}"
        meta = {"namespace": "chat", **given["metadata"], "uid": uid, "resourceVersion": version}
        kept = self.objects[plural, name] = {**given, "metadata": meta}
        return kept

    def get(self, plural: str, name: str) -> Object:
        """Return an object. Raises Refused where there is none."""
        if (plural, name) not in self.objects:
            raise Refused(404, "NotFound", f"{plural} {name!r} not found")
        return self.objects[plural, name]

    def selected(self, plural: str, selector: str) -> list[Object]:
        """Return the objects whose labels are as `selector` says."""
        return [
            each
            for (kind, _), each in self.objects.items()
            if kind == plural and _matches(each["metadata"].get("labels", {}), selector)
        ]


def _plural(kind: str) -> str:
    name = kind.lower()
    return f"{name[:-1]}ies" if name.endswith("y") else f"{name}es" if name.endswith("s") else f"{name}s"


def _matches(labels: dict[str, str], selector: str) -> bool:
    for term in re.findall(r"[^,(]+(?:\([^)]*\))?", selector):
        name, _, values = term.partition(" in ")
        if values:
            wanted = values.strip("()").split(",")
        else:
            name, _, value = term.replace("==", "=").partition("=")
            wanted = [value]
        if labels.get(name) not in wanted:
            return False
    return True


class _Handler(BaseHTTPRequestHandler):
    server: Cluster
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            status, found = 200, self._answer(body)
        except Refused as refused:
            status = refused.status
            found = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status}
            found |= {"reason": refused.reason, "message": str(refused)}
        text = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def __getattr__(self, name: str) -> Any:
        """Serve every method alike."""
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _answer(self, body: bytes) -> Object:
        parts = urlsplit(self.path)
        place = _PATH.fullmatch(parts.path)
        if place is None:
            return _discovered(parts.path)
        plural, name = place["plural"], place["name"]
        if self.command in ("POST", "PUT", "PATCH"):
            return self._written(plural, name, body)
        if self.command == "DELETE":
            self.server.get(plural, name)
            return self.server.objects.pop((plural, name))
        if name:
            return self.server.get(plural, name)
        selector = parse_qs(parts.query).get("labelSelector", [""])[0]
        items = self.server.selected(plural, selector)
        version, kind = next((v, kind) for v, kinds in KINDS.items() for kind in kinds if _plural(kind) == plural)
        return {"kind": f"{kind}List", "apiVersion": version, "metadata": {"resourceVersion": "1"}, "items": items}

    def _written(self, plural: str, name: str | None, body: bytes) -> Object:
        kind = self.headers.get("content-type", "")
        given = secret_of(body) if "protobuf" in kind else yaml.safe_load(body)
        there = (plural, given["metadata"]["name"]) in self.server.objects
        if self.command == "POST" and there:
            raise Refused(409, "AlreadyExists", f"{plural} {given['metadata']['name']!r} already exists")
        if self.command == "PATCH" and "apply-patch" not in kind:
            raise Refused(415, "UnsupportedMediaType", f"{kind} is not known here")
        return self.server.put(plural, given)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


def _discovered(path: str) -> Object:
    """Return what there is: versions, groups, kinds."""
    if path == "/version":
        return {"major": "1", "minor": "33", "gitVersion": "v1.33.0"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(each) for each in KINDS if "/" in each]}
    version = path.removeprefix("/apis/").removeprefix("/api/")
    if version not in KINDS:
        raise Refused(404, "NotFound", f"{path} not found")
    verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
    resources = [
        {"name": _plural(kind), "singularName": kind.lower(), "namespaced": True, "kind": kind, "verbs": verbs}
        for kind in KINDS[version]
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}


def _group(version: str) -> Object:
    group, _, number = version.partition("/")
    known = {"groupVersion": version, "version": number}
    return {"name": group, "versions": [known], "preferredVersion": known}


def cluster() -> AbstractContextManager[Cluster]:
    """Serve until exit."""
    return served(Cluster())
