"""Reading C++ sources for the checks: files, comments and strings taken out, functions found."""
import pathlib
import re
import subprocess

TOP = pathlib.Path(__file__).resolve().parent.parent

_TOKENS = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"([^(\s]*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.S)
_NOT_A_FUNCTION = re.compile(
    r"^(if|else|for|while|switch|do|try|catch|namespace|class|struct|union|enum|return|extern|case|"
    r"default|requires|concept)\b")


def tracked(*patterns, top=TOP):
    """Tracked and new (not ignored) files that match the patterns, as paths relative to `top`."""
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "--", *patterns], cwd=top,
                         capture_output=True, text=True, check=True).stdout
    return sorted({pathlib.Path(line) for line in out.splitlines() if (top / line).is_file()})


def blank(match):
    """Replaces a comment or literal by blanks, so that lines and columns stay where they are."""
    text = match.group(0)
    if text.startswith("'") and re.search(r"[0-9a-fA-F]$", match.string[:match.start()][-1:] or ""):
        return text  # a digit separator, as in 1'000'000
    return re.sub(r"[^\n]", " ", text)


def code_only(text):
    text = re.sub(r"(?<=[0-9a-fA-F])'(?=[0-9a-fA-F])", "_", text)
    return _TOKENS.sub(blank, text)


def functions(text):
    """Yields (first line, last line, name) of every function body. Relies on the project's format:
    the closing brace of a function stands in the column where its declaration starts."""
    lines = code_only(text).splitlines()
    i = 0
    while i < len(lines):
        start = header_start(lines, i)
        if start is None:
            i += 1
            continue
        indent = len(lines[start]) - len(lines[start].lstrip())
        end = i + 1
        while end < len(lines) and not re.match(rf"^ {{{indent}}}\}}", lines[end]):
            end += 1
        header = " ".join(line.strip() for line in lines[start:i + 1])
        name = re.search(r"([~\w:]+|operator\S+)\s*\(", header)
        yield start + 1, end + 1, (name[1] if name else header)[:60]
        i = end + 1
    return


def header_start(lines, i):
    """If line i opens a function body, the line where its declaration starts, else None."""
    line = lines[i].rstrip()
    if not line.endswith("{"):
        return None
    start = i
    joined = line.strip()
    while start > 0 and (joined.count(")") > joined.count("(") or joined.startswith((":", ",", "->"))
                         or ("(" in joined and lines[start - 1].rstrip().endswith((",", "(")))):
        start -= 1
        joined = lines[start].strip() + " " + joined
        if i - start > 30:
            return None
    if "(" not in joined or _NOT_A_FUNCTION.match(joined) or joined.startswith(("}", "#", "[")):
        return None
    if re.search(r"(=|\breturn\b|\[[^\]]*\]\s*)\s*(\([^()]*\))?\s*[\w\s]*\{$", joined) and (
            re.search(r"\[[^\]]*\]\s*(\(|\{|mutable)", joined)):
        return None  # a lambda: counted with the function around it
    if re.search(r"=\s*\{$", joined) or re.search(r"[(,]\s*\{$", joined):
        return None  # an initializer
    return start
