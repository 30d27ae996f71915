#!/usr/bin/env python3
"""Draws what ./dev bench grid --json FILE measured: heat maps as SVG, tables in Markdown.

Usage: grid_plot.py FILE [--svg OUT.svg] [--markdown]
FILE is of the grid in virtual time or of the one beside the kernel; the file says which.
"""
import argparse
import html
import json
import math
import pathlib
import statistics
import sys

CELL_WIDTH, CELL_HEIGHT, GAP = 44, 18, 14
LABELS, TOP = 150, 62
# Ratio, colour; between them colours are mixed by the logarithm of the ratio.
SCALE = [(0.25, (165, 0, 38)), (0.6, (244, 109, 67)), (0.8, (254, 224, 139)), (1.0, (217, 239, 139)),
         (1.5, (102, 189, 99)), (4.0, (0, 104, 55))]


def colour(ratio):
    ratio = min(max(ratio, SCALE[0][0]), SCALE[-1][0])
    for (low, a), (high, b) in zip(SCALE, SCALE[1:]):
        if ratio <= high:
            share = math.log(ratio / low) / math.log(high / low)
            return tuple(round(x + (y - x) * share) for x, y in zip(a, b))
    return SCALE[-1][1]


def number(ratio):
    return f"{ratio:.2f}" if ratio < 9.95 else f"{ratio:.0f}"


class Panel:
    """`rows` and `columns` are labels, `values` ratios by (row, column)."""

    def __init__(self, title, rows, columns, values):
        self.title, self.rows, self.columns, self.values = title, rows, columns, values

    def width(self):
        return len(self.columns) * CELL_WIDTH

    def draw(self, x):
        yield f'<text x="{x + self.width() / 2}" y="{TOP - 26}" class="h">{html.escape(self.title)}</text>'
        for c, column in enumerate(self.columns):
            yield f'<text x="{x + (c + 0.5) * CELL_WIDTH}" y="{TOP - 8}" class="c">{html.escape(column)}</text>'
        for r, row in enumerate(self.rows):
            for c, column in enumerate(self.columns):
                ratio = self.values.get((row, column))
                if ratio is None:
                    continue
                left, top = x + c * CELL_WIDTH, TOP + r * CELL_HEIGHT
                red, green, blue = colour(ratio)
                ink = "#fff" if 0.3 * red + 0.6 * green + 0.1 * blue < 110 else "#222"
                yield (f'<rect x="{left}" y="{top}" width="{CELL_WIDTH - 1}" height="{CELL_HEIGHT - 1}" '
                       f'fill="#{red:02x}{green:02x}{blue:02x}"/>'
                       f'<text x="{left + CELL_WIDTH / 2}" y="{top + 13}" class="c" fill="{ink}">{number(ratio)}</text>')


def svg(title, panels):
    rows = panels[0].rows
    width = LABELS + sum(p.width() + GAP for p in panels)
    height = TOP + len(rows) * CELL_HEIGHT + 10
    yield (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
           f'font-family="sans-serif" font-size="11">')
    yield "<style>.h{text-anchor:middle;font-weight:bold}.c{text-anchor:middle}.r{text-anchor:end}</style>"
    yield f'<rect width="{width}" height="{height}" fill="#fff"/>'
    yield f'<text x="8" y="16" font-size="13" font-weight="bold">{html.escape(title)}</text>'
    for r, row in enumerate(rows):
        yield f'<text x="{LABELS - 8}" y="{TOP + r * CELL_HEIGHT + 13}" class="r">{html.escape(row)}</text>'
    x = LABELS
    for panel in panels:
        yield from panel.draw(x)
        x += panel.width() + GAP
    yield "</svg>"


def table(head, rows):
    yield "| " + " | ".join(head) + " |"
    yield "|" + "|".join("---" if i == 0 else "---:" for i in range(len(head))) + "|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def impairment(cell):
    return f"loss {cell['loss']:g} %, late {cell['reorder']:g} %"


# --- in virtual time ---


def virtual_panels(cells):
    rows = list(dict.fromkeys(impairment(c) for c in cells))
    rates = sorted({c["rate_mbit"] for c in cells})
    columns = [f"{rtt:g} ms" for rtt in sorted({c["rtt_ms"] for c in cells})]
    for jitter in sorted({c["jitter"] for c in cells}):
        for rate in rates:
            values = {(impairment(c), f"{c['rtt_ms']:g} ms"): c["ratio"] for c in cells
                      if c["jitter"] == jitter and c["rate_mbit"] == rate}
            yield Panel(f"{rate:g} Mbit/s{', jitter' if jitter else ''}", rows, columns, values)


def virtual_table(cells):
    paths = sorted({(c["rate_mbit"], c["rtt_ms"]) for c in cells})
    by_name = {}
    for c in cells:
        name = impairment(c) + (", jitter" if c["jitter"] else "")
        by_name.setdefault(name, {})[c["rate_mbit"], c["rtt_ms"]] = number(c["ratio"])
    head = ["ratio to the formula"] + [f"{rate:g} Mbit/s, {rtt:g} ms" for rate, rtt in paths]
    return table(head, ([name] + [own.get(path, "") for path in paths] for name, own in by_name.items()))


# --- beside the kernel ---


def kernel_cells(runs):
    """For each cell, in order: its words, and by kind the goodputs and ratios of pairs."""
    cells = {}
    for run in runs:
        cells.setdefault(run["cell"], {}).setdefault(run["pair"], {})[run["kind"]] = run["goodput"]
    for name, pairs in cells.items():
        whole = [p for p in pairs.values() if "kernel-kernel" in p and len(p) == 3]
        if not whole:
            continue
        words = dict(word.split("=") for word in name.split())
        cell = {"loss": float(words["loss"]), "reorder": float(words["reorder"]), "jitter": words["jitter"] == "1",
                "path": f"{words['rate']} Mbit/s, {words['rtt']} ms", "pairs": len(whole)}
        for kind in ("tidewire-kernel", "kernel-tidewire", "kernel-kernel"):
            cell[kind] = statistics.median(p[kind] for p in whole)
            cell["ratio " + kind] = statistics.median(p[kind] / p["kernel-kernel"] for p in whole)
        yield cell


def kernel_row(cell):
    return impairment(cell) + (", jitter" if cell["jitter"] else "")


def kernel_panels(cells):
    rows = list(dict.fromkeys(kernel_row(c) for c in cells))
    columns = list(dict.fromkeys(c["path"].replace(" Mbit/s, ", "/").replace(" ms", "") for c in cells))
    for kind in ("tidewire-kernel", "kernel-tidewire"):
        values = {(kernel_row(c), c["path"].replace(" Mbit/s, ", "/").replace(" ms", "")): c["ratio " + kind]
                  for c in cells}
        yield Panel(kind.replace("-", " to "), rows, columns, values)


def kernel_table(cells):
    head = ["path", "impairment", "tidewire to kernel", "kernel to tidewire", "kernel to kernel", "ratio out", "ratio in"]
    rows = ([c["path"], kernel_row(c), *(f"{c[k] / 1e6:.2f}" for k in ("tidewire-kernel", "kernel-tidewire",
                                                                        "kernel-kernel")),
             f"{c['ratio tidewire-kernel']:.2f}", f"{c['ratio kernel-tidewire']:.2f}"] for c in cells)
    return table(head, rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--svg", metavar="OUT")
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    data = json.loads(pathlib.Path(args.file).read_text())
    if data["bench"] == "grid":
        cells = data["cells"]
        title = "Goodput in virtual time as a multiple of the formula"
        panels, text = list(virtual_panels(cells)), virtual_table(cells)
    else:
        cells = list(kernel_cells(data["runs"]))
        title = "Goodput as a multiple of kernel to kernel (Mbit/s / ms)"
        panels, text = list(kernel_panels(cells)), kernel_table(cells)
    if not cells:
        sys.exit("grid_plot: nothing to draw in " + args.file)
    if args.svg:
        pathlib.Path(args.svg).write_text("\n".join(svg(title, panels)) + "\n")
    if args.markdown:
        print("\n".join(text))


if __name__ == "__main__":
    main()
