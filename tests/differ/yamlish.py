"""Reads the YAML that API servers write: block style, scalars plain, quoted or literal; how they are quoted is layout."""
import json, re

PLAIN = {"null": None, "~": None, "true": True, "false": False, "{}": {}, "[]": [], '""': "", "''": ""}
NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?$")


def read(text):
    """The value; a `ValueError` for what is none."""
    lines = [line for line in text.split("\n")]
    value, at = block(lines, skip(lines, 0), 0)
    if skip(lines, at) < len(lines):
        raise ValueError("more than a value")
    return value


def skip(lines, at):
    while at < len(lines) and not lines[at].strip():
        at += 1
    return at


def depth(line):
    return len(line) - len(line.lstrip(" "))


def block(lines, at, least):
    """The list or map that begins at a line."""
    if at >= len(lines):
        raise ValueError("no value")
    indent = depth(lines[at])
    if indent < least:
        return None, at
    out = [] if lines[at][indent:indent + 2] in ("- ", "-") else {}
    while at < len(lines) and lines[at].strip() and depth(lines[at]) == indent:
        rest = lines[at][indent:]
        if isinstance(out, list):
            if rest[:2] not in ("- ", "-"):
                break
            # What stands behind the dash is a block of its own, two further in.
            lines[at] = " " * (indent + 2) + rest[2:]
            if is_pair(rest[2:]) or rest[2:4] in ("- ", "-"):
                value, at = block(lines, at, indent + 2)
            else:
                value, at = scalar(lines, at, rest[2:], indent)
            out.append(value)
        else:
            key, rest = pair(rest)
            if rest:
                out[key], at = scalar(lines, at, rest, indent)
            else:
                following = skip(lines, at + 1)
                deeper = following < len(lines) and (depth(lines[following]) > indent or lines[following][indent:indent + 2] in ("- ", "-") and depth(lines[following]) == indent)
                out[key], at = block(lines, following, indent) if deeper else (None, at + 1)
        at = skip(lines, at)
    return out, at


KEY = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s"'\[\]{}#&*!|>%@-][^#]*?|-[^\s].*?):(?: (.*)|$)""")


def is_pair(text):
    return bool(KEY.match(text))


def pair(text):
    found = KEY.match(text)
    if not found:
        raise ValueError(f"no key: {text[:40]}")
    return quoted(found[1]), (found[2] or "").strip()


def quoted(text):
    if text.startswith('"'):
        return json.loads(re.sub(r"\\([^\"\\/bfnrtu])", lambda m: {"a": "\\u0007", "e": "\\u001b", "0": "\\u0000", "v": "\\u000b", " ": " "}.get(m[1], m[0]), re.sub(r"\\x([0-9a-fA-F]{2})", r"\\u00\1", text)))
    return text[1:-1].replace("''", "'") if text.startswith("'") else text


def scalar(lines, at, text, indent):
    """A scalar that may go on in the lines that follow, further in."""
    following = at + 1
    if text[0] in "|>":
        taken = []
        while following < len(lines) and (not lines[following].strip() or depth(lines[following]) > indent):
            taken.append(lines[following])
            following += 1
        inner = min((depth(l) for l in taken if l.strip()), default=0)
        joined = "\n".join(l[inner:] for l in taken)
        if text[0] == ">":
            joined = re.sub(r"(?<=[^\n])\n(?=[^\n ])", " ", joined.rstrip("\n")) + "\n"
        return (joined.rstrip("\n") + ("" if "-" in text else "\n" if "+" not in text else "\n" * max(1, len(joined) - len(joined.rstrip("\n"))))), following
    while following < len(lines) and lines[following].strip() and depth(lines[following]) > indent and not complete(text):
        text += " " + lines[following].strip()
        following += 1
    if text in PLAIN:
        return PLAIN[text], following
    if text[0] in "\"'":
        return quoted(text), following
    return (json.loads(text) if NUMBER.match(text) else text), following


def complete(text):
    """Whether a quoted text ends here."""
    return bool(re.fullmatch(r'"(?:[^"\\]|\\.)*"|\'(?:[^\']|\'\')*\'', text))
