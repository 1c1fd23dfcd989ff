"""Reads the commands of a page: what stands in its code blocks, and what its sentences name."""

import dataclasses
import re

# What begins a line of a block that is to be run. Anything else there is output, or a file.
PROGRAMS = ("tokensmith", "target/release/tokensmith", "kubectl", "curl", "cargo", "docker", "kind", "vault", "oauth2-proxy", "export", "openssl", "install",
            "kube-apiserver", "grpcurl", "python3", "[A-Z_]+=")
COMMAND = re.compile(r"^(?:%s)(?:\s|$|(?<==))" % "|".join(PROGRAMS))


@dataclasses.dataclass
class Command:
    line: int
    text: str
    output: list[str]  # what the page shows below it


@dataclasses.dataclass
class File:
    line: int
    language: str
    text: str


def blocks(text: str):
    """Gives (first line's number, language or None, lines) of each code block: fenced or indented."""
    lines, at = text.split("\n"), 0
    while at < len(lines):
        line = lines[at]
        if line.startswith("```"):
            end = at + 1
            while lines[end] != "```":
                end += 1
            yield at + 2, line[3:].strip(), lines[at + 1:end]
            at = end + 1
        elif line.startswith("    ") and not lines[at - 1].startswith(("- ", "  -")):
            end = at
            while end < len(lines) and lines[end].startswith("    "):
                end += 1
            yield at + 1, None, [one[4:] for one in lines[at:end]]
            at = end
        else:
            at += 1


def items(text: str):
    """The commands and files of a page, in its order."""
    for first, language, lines in blocks(text):
        if language in ("yaml", "json", "toml"):
            yield File(first, language, "\n".join(lines) + "\n")
            continue
        if language not in (None, "", "sh", "bash", "console"):
            continue
        prompted = any(line.startswith("$ ") for line in lines)
        command = None
        for number, line in enumerate(lines, first):
            if command and command.text.endswith("\\"):
                command.text = command.text[:-1].rstrip() + " " + line.strip()
            elif prompted and line.startswith("$ "):
                if command:
                    yield command
                command = Command(number, line[2:], [])
            elif not prompted and COMMAND.match(line):
                if command:
                    yield command
                command = Command(number, line, [])
            elif command:
                command.output.append(line)
        if command:
            yield command


def named(text: str):
    """The commands of tokensmith that sentences and tables name: (line, subcommands, flags)."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("    "):
            continue
        for code in re.findall(r"`((?:tokensmith )[^`]+)`", line):
            words = code.split()[1:]
            subcommands = []
            for word in words:
                if not re.fullmatch(r"[a-z]+", word):
                    break
                subcommands.append(word)
            yield number, subcommands, [re.split("[=,]", word)[0] for word in words if word.startswith("--") and word != "--"]
