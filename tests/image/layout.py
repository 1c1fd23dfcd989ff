"""The image without a daemon: an OCI layout (image-spec 1.1) of one layer, the same bytes for the same binary.

    python3 tests/image/layout.py --binary target/release/tokensmith --to image

It holds what the Dockerfile's image holds: the binary, the public CAs, a user of its own, a folder for the data and /tmp. A binary
that is not static brings its libraries along. `skopeo copy oci:image …`, `podman load` and `docker load` (--to image.tar) take it."""

import argparse
import gzip
import hashlib
import io
import json
import os
import pathlib
import platform
import re
import subprocess
import tarfile
import tempfile

USER = 65532
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
ROOTS = "etc/ssl/certs/ca-certificates.crt"  # where rustls-native-certs looks
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def libraries(binary: pathlib.Path) -> list[pathlib.Path]:
    """What the loader would find, and the loader itself; nothing for a static binary."""
    found = subprocess.run(["ldd", binary], capture_output=True, text=True)
    if found.returncode:
        return []
    return [pathlib.Path(path) for path in re.findall(r"(?:=> |^\s+)(/\S+) \(0x", found.stdout, re.M)]


def layer(binary: pathlib.Path, roots: pathlib.Path) -> bytes:
    """The files as a tar that depends on nothing but them."""
    folders, files = {"data": (0o700, USER), "tmp": (0o1777, 0)}, {
        "tokensmith": (0o755, binary.read_bytes()),
        ROOTS: (0o644, roots.read_bytes()),
        "etc/passwd": (0o644, f"root:x:0:0:root:/:/sbin/nologin\ntokensmith:x:{USER}:{USER}:tokensmith:/data:/sbin/nologin\n".encode()),
        "etc/group": (0o644, f"root:x:0:\ntokensmith:x:{USER}:\n".encode()),
    }
    for library in libraries(binary):
        files[str(library).lstrip("/")] = (0o755, library.read_bytes())
    for name in files:
        for parent in pathlib.PurePath(name).parents:
            if str(parent) != ".":
                folders.setdefault(str(parent), (0o755, 0))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted({*folders, *files}):
            entry = tarfile.TarInfo(name)
            if name in folders:
                entry.type, (entry.mode, entry.uid) = tarfile.DIRTYPE, folders[name]
                entry.gid = entry.uid
                tar.addfile(entry)
            else:
                entry.mode, data = files[name]
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def config(diff: str, version: str, architecture: str) -> dict:
    return {
        "architecture": architecture,
        "os": "linux",
        "config": {
            "User": f"{USER}:{USER}",
            "Env": ["TOKENSMITH_DATA_DIR=/data"],
            "Entrypoint": ["/tokensmith"],
            "Cmd": ["serve", "--bind-address=0.0.0.0"],
            "WorkingDir": "/data",
            "ExposedPorts": {"6443/tcp": {}},
            "Volumes": {"/data": {}},
            "Labels": labels(version),
            # Docker's own; others leave it alone. Nanoseconds.
            "Healthcheck": {"Test": ["CMD", "/tokensmith", "healthcheck"], "Interval": 10**10, "Timeout": 3 * 10**9, "StartPeriod": 15 * 10**9},
        },
        "rootfs": {"type": "layers", "diff_ids": [diff]},
        "history": [{"created_by": "tests/image/layout.py"}],
    }


def labels(version: str) -> dict:
    return {
        "org.opencontainers.image.title": "tokensmith",
        "org.opencontainers.image.description": "A Kubernetes service-account token issuer in one binary",
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.version": version,
    }


def version() -> str:
    manifest = pathlib.Path(__file__).resolve().parents[2] / "Cargo.toml"
    return re.search(r'^version = "(.*)"', manifest.read_text(), re.M).group(1)


class Layout:
    """A folder of blobs that are named by what they hold."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        (folder / "blobs/sha256").mkdir(parents=True)

    def put(self, kind: str, data: bytes) -> dict:
        digest = hashlib.sha256(data).hexdigest()
        (self.folder / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}

    def json(self, kind: str, value: dict) -> dict:
        return self.put(kind, json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def build(binary: pathlib.Path, to: pathlib.Path, roots: pathlib.Path) -> int:
    """Writes the layout; gives the layer's size as it is fetched."""
    architecture = ARCHITECTURES.get(platform.machine(), platform.machine())
    plain = layer(binary, roots)
    packed = gzip.compress(plain, 6, mtime=0)
    layout = Layout(to)
    blob = layout.put(LAYER, packed)
    settings = layout.json(CONFIG, config(f"sha256:{hashlib.sha256(plain).hexdigest()}", version(), architecture))
    manifest = layout.json(MANIFEST, {"schemaVersion": 2, "mediaType": MANIFEST, "config": settings, "layers": [blob]})
    manifest |= {"platform": {"architecture": architecture, "os": "linux"},
                 "annotations": {"org.opencontainers.image.ref.name": "tokensmith", "io.containerd.image.name": f"docker.io/library/tokensmith:{version()}"}}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest]}
    (to / "index.json").write_text(json.dumps(index, sort_keys=True, indent=1) + "\n")
    (to / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}\n')
    return len(packed)


def archive(folder: pathlib.Path, to: pathlib.Path) -> None:
    with tarfile.open(to, "w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            entry = tarfile.TarInfo(str(path.relative_to(folder)))
            if path.is_dir():
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(entry)
            else:
                entry.size, entry.mode = path.stat().st_size, 0o644
                with path.open("rb") as file:
                    tar.addfile(entry, file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", type=pathlib.Path, required=True)
    parser.add_argument("--to", type=pathlib.Path, required=True, help="a folder that is not there yet, or a file that ends in .tar")
    parser.add_argument("--roots", type=pathlib.Path, default=pathlib.Path("/") / ROOTS, help="the public CAs, PEM")
    parser.add_argument("--strip", action="store_true", help="leave out what only a debugger reads")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temp:
        binary = args.binary
        if args.strip:
            binary = pathlib.Path(temp) / "tokensmith"
            subprocess.run(["strip", "-o", binary, args.binary], check=True)
        packed = args.to.suffix == ".tar"
        folder = pathlib.Path(temp) / "layout" if packed else args.to
        size = build(binary, folder, args.roots)
        if packed:
            archive(folder, args.to)
    print(f"{args.to}: {size / 1e6:.1f} MB to fetch, of a binary of {os.stat(args.binary).st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
