"""Every command that README.md and docs/ show is run as it stands; every command and flag that their sentences name exists."""

import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORLD = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of(page, tmp_path):
    if subprocess.run([*WORLD, "true"], capture_output=True).returncode != 0:
        pytest.skip("namespaces of one's own are not permitted here")
    done = subprocess.run([*WORLD, sys.executable, str(pathlib.Path(__file__).parent / "play.py"), str(page), str(tmp_path)],
                          capture_output=True, text=True, timeout=300)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr


def test_links_lead_somewhere():
    for page in [*PAGES, *(ROOT / name for name in ("ARCHITECTURE.md", "CONTRIBUTING.md"))]:
        for link in re.findall(r"\]\(([^)#]+)?(?:#([^)]*))?\)", page.read_text()):
            target, anchor = link
            if target.startswith("http"):
                continue
            path = (page.parent / target) if target else page
            assert path.exists(), f"{page.name} links to {target}"
            if anchor:
                heads = [re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in path.read_text().split("\n") if line.startswith("#")]
                assert anchor in heads, f"{page.name} links to {target}#{anchor}: {heads}"


def test_the_main_text_is_short():
    assert len((ROOT / "README.md").read_text().split("\n")) < 200
