"""What docs/programs.md says of a scenario, declared beside it, and whether that is what was run.

    @shows("curl", "curl -T F", "an upload; the server answers with its hash")
    def curl_upload(bench): ...

A command is written as a user would type it. Capital letters that stand alone are places for a value: F a file,
D a directory, P a port, H a host, U an address of the web, S a script. `…` stands for any words. A command under
`run` is one that a run starts; "host: " before it says that the host starts it.
"""
import collections
import functools
import re

Row = collections.namedtuple("Row", "program commands text")
HOST = "host: "


def shows(program, commands, text):
    """Declares a row of the table of programs. commands: one or several."""
    commands = (commands,) if isinstance(commands, str) else tuple(commands)

    def declare(scenario):
        # Decorators apply from the last to the first; the table is read from the first to the last.
        scenario.rows = [Row(program, commands, text), *getattr(scenario, "rows", [])]
        return scenario
    return declare


@functools.cache
def pattern(command):
    """What matches the words of a command in their order, with others between them."""
    words = []
    for word in command.split():
        if word != "…":
            value = re.sub(r"(?<![A-Za-z0-9])[A-Z](?![A-Za-z0-9])", r"\\S+", re.escape(word))
            words.append((r"(?:\S*/)?" if not words else "") + value)
    return re.compile(r"(?<!\S)" + r"(?:\s+(?:\S+\s+)*?)".join(words) + r"(?!\S)")


def missing(scenario, ran):
    """The declared commands of a scenario that are not among those that ran: (on the host?, text) each."""
    lost = []
    for row in getattr(scenario, "rows", []):
        for command in row.commands:
            on_host = command.startswith(HOST)
            wanted = pattern(command.removeprefix(HOST))
            if not any(host == on_host and wanted.search(re.sub("['\";]", "", text)) for host, text in ran):
                lost.append(command)
    return lost
