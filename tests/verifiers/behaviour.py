"""behaviour.json, and the page that is made of it: `python3 tests/verifiers/behaviour.py` writes docs/verifiers.md."""

import json
import pathlib

HERE = pathlib.Path(__file__).parent
FILE, PAGE = HERE / "behaviour.json", HERE.parents[1] / "docs" / "verifiers.md"

HEAD = """# What verifiers do
Measured, not read: each of these is the real program or library with its own defaults, started once and shown tokens, before and after rotations and
revocations. `tests/run -k verifiers` measures those of CI anew and fails where one does something else; `tests/verifiers/more/run` the others,
which take minutes to build.
[keys.md](keys.md) says what follows from it.
"""

TAKES = """
## Which tokens they take
Each takes a good token, and one that is for others, too, as long as it is among them; none takes a token for somebody else, nor one with a spoilt signature. In
*deleted pod* stands whether a token is still taken whose pod is gone: only who asks this server can know.

"""

KEYS = """
## How they follow keys
*Next rotation*: whether it goes on by itself when a key signs that was published after its start. *New key*: when it takes the first token of a key that it has
never seen (a forced rotation, `tokensmith keys activate --force`, or `keys revoke --fresh`); tokens of the key of before stay good in a rotation. *Revoked key*: how long it goes on with the tokens of a key that has been revoked, and how long when a token of
`tokensmith keys poke` is shown to it. Each of them refuses them after a restart.

"""

NOTES = """
## Why
"""


def read() -> dict:
    return json.loads(FILE.read_text())


def write(measured: dict, order: list) -> None:
    """Puts what was measured beside what is there, in the order of the list, those that are not in it last."""
    all_ = (read() if FILE.exists() else {}) | measured
    names = [name for name in order if name in all_] + [name for name in all_ if name not in order]
    FILE.write_text(json.dumps({name: all_[name] for name in names}, indent=2) + "\n")
    PAGE.write_text(page(read()))


def page(all_: dict) -> str:
    return (HEAD + TAKES + table(["verifier", "version", "algorithms", "two audiences", "another audience", "expired, for", "not yet valid, for", "deleted pod"],
                                 (tokens(told) for told in all_.values() if "takes" in told))
            + KEYS + table(["verifier", "next rotation", "new key", "revoked key", "revoked key, poked"], map(keys, all_.values()))
            + NOTES + "".join(f"- {told['title']}: {told['note']}.\n" for told in all_.values() if told["note"]))


def tokens(told: dict) -> list:
    takes = {name: "taken" if yes else "refused" for name, yes in told["takes"].items()}
    skew = {name: "refused at once" if seconds == 0 else "taken for long" if seconds is None else f"taken for {seconds} s"
            for name, seconds in told["skewSeconds"].items()}
    module, version = told["version"].rsplit(" ", 1)
    return [told["title"], f"`{module}` {version}", ", ".join(told["algorithms"]), takes["twoAudiences"], takes["anotherAudience"], skew["expired"],
            skew["notYetValid"], takes["deletedPod"]]


def keys(told: dict) -> list:
    next_ = "goes on" if told["rotation"]["scheduled"] and told["rotation"]["next"] else "when its program fetches again" if told["rotation"]["scheduled"] else "fails"
    revoked = told["revocation"]
    forgets = {"at once": "refused at once", "never": "taken until a restart"}
    poked = "changes nothing" if revoked["poked"] == revoked["forgets"] != "at once" else forgets.get(revoked["poked"], "refused " + revoked["poked"])
    asks = {"never": "refused until a restart", "at once": "taken at once"}.get(told["unknownKey"]["asks"], "taken " + told["unknownKey"]["asks"])
    return [told["title"], next_, asks, forgets.get(revoked["forgets"], "refused " + revoked["forgets"]), poked]


def table(head: list, rows) -> str:
    return "".join("| " + " | ".join(row) + " |\n" for row in [head, ["---"] * len(head), *rows]).replace("| --- ", "|---").replace("---|---", "---|---")


if __name__ == "__main__":
    PAGE.write_text(page(read()))
