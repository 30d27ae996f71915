#!/usr/bin/env python3
# timeout: 30
"""The manual page, the README and --help speak of the same commands, options and words of --net."""
import os
import pathlib
import re
import subprocess
import sys

SOURCE = pathlib.Path(os.environ.get("TIDEWIRE_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
TIDEWIRE = os.environ.get("TIDEWIRE", str(SOURCE / "build" / "release" / "tidewire"))


def help_of(*words):
    done = subprocess.run([TIDEWIRE, *words, "--help"], capture_output=True, text=True, timeout=10)
    assert done.returncode == 0, f"{words} --help: exit status {done.returncode}"
    return done.stdout


def options_in(text):
    """Options at the start of a line of --help: `-c,--count N`."""
    found = set()
    for line in text.splitlines():
        if match := re.match(r"\s+(-[-\w,]+)", line):
            found |= set(match[1].split(","))
    return found - {"-h", "--help", "--version"}


def main():
    manual = (SOURCE / "docs" / "man" / "tidewire.1").read_text().replace("\\-", "-")
    readme = (SOURCE / "README.md").read_text()
    chinese = (SOURCE / "README.zh-CN.md").read_text()
    problems = []
    commands = re.findall(r"^  (\w+) {3,}\S", help_of().split("Subcommands:")[1].split("Examples:")[0], re.M)
    assert len(commands) >= 6, commands
    known = set()
    for command in commands:
        if not re.search(rf"^\.B {command}$", manual, re.M):
            problems.append(f"the manual page has no command {command}")
        known |= options_in(help_of(command))
    for option in sorted(known):
        if not re.search(rf"(?<![\w-]){option}(?![\w-])", manual):
            problems.append(f"the manual page has no option {option}")
    for option in sorted(set(re.findall(r"(?<![\w-])--[a-z][\w-]+", manual + readme)) - known):
        if option not in ("--prefix", "--help", "--version", "--read-only") and f"docker {option}" not in readme:
            if not re.search(rf"(curl|docker|podman|git|setpriv|unshare)[^\n]*{option}", readme):
                problems.append(f"the documents name {option}, which no command has")
    words = re.findall(r"^\s+(?:--net WORDS.*\n\s+)?([a-z]+)=[TPN]", help_of("run"), re.M)
    assert len(words) >= 10, words
    for word in words:
        for name, text in (("manual page", manual), ("README", readme), ("README.zh-CN", chinese)):
            if f"{word}=" not in text:
                problems.append(f"the {name} does not explain {word}=")
    print("\n".join(problems) or f"{len(commands)} commands, {len(known)} options, {len(words)} words")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
