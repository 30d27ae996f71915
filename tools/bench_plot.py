#!/usr/bin/env python3
"""Draws what ./dev bench --json FILE measured: bars beside the references as SVG, tables in Markdown.

Usage: bench_plot.py FILE [--svg OUT.svg] [--markdown]
A bar is as long as the ratio to the reference, on a logarithmic scale; the line is 1. Rows without a
reference are in the tables only.
"""
import argparse
import html
import json
import math
import pathlib
import sys

LABELS, BARS, TEXT = 170, 320, 400
ROW, TOP = 22, 56
MARKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
BELOW, ABOVE = "#c0a060", "#4a8a5a"


def number(value):
    """Three digits, or all before the point, with thousands apart."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


class Scale:
    """From a ratio to a place on the picture; at least from a half to 2."""

    def __init__(self, ratios):
        self.low = max([m for m in MARKS if m <= min([*ratios, 0.5])], default=MARKS[0])
        self.high = min([m for m in MARKS if m >= max([*ratios, 2])], default=MARKS[-1])

    def x(self, ratio):
        ratio = min(max(ratio, self.low), self.high)
        return LABELS + BARS * math.log(ratio / self.low) / math.log(self.high / self.low)

    def marks(self):
        return [m for m in MARKS if self.low <= m <= self.high]


def bar(scale, row, top):
    ratio, one = row["ratio"], scale.x(1)
    left, right = sorted((scale.x(ratio), one))
    label = f"{number(row['median'])} {row['unit']}, {number(row['reference'])} {row['against']}"
    yield f'<text x="{LABELS - 8}" y="{top + 15}" class="r">{html.escape(row["id"])}</text>'
    yield (f'<rect x="{left:.1f}" y="{top + 3}" width="{max(right - left, 1):.1f}" height="{ROW - 6}" '
           f'fill="{ABOVE if ratio >= 1 else BELOW}"/>')
    yield (f'<text x="{LABELS + BARS + 12}" y="{top + 15}"><tspan font-weight="bold">{number(ratio)} x</tspan> '
           f'{html.escape(label)}</text>')


def svg(rows):
    scale = Scale([r["ratio"] for r in rows])
    width, height = LABELS + BARS + TEXT, TOP + ROW * len(rows) + 10
    yield (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
           f'font-family="sans-serif" font-size="11">')
    yield "<style>.c{text-anchor:middle}.r{text-anchor:end}</style>"
    yield f'<rect width="{width}" height="{height}" fill="#fff"/>'
    yield '<text x="8" y="16" font-size="13" font-weight="bold">tidewire as a multiple of what it is compared with</text>'
    for mark in scale.marks():
        x = scale.x(mark)
        ink = "#444" if mark == 1 else "#ddd"
        yield f'<text x="{x:.1f}" y="{TOP - 8}" class="c">{mark:g}</text>'
        yield f'<line x1="{x:.1f}" y1="{TOP - 4}" x2="{x:.1f}" y2="{height - 8}" stroke="{ink}"/>'
    for i, row in enumerate(rows):
        yield from bar(scale, row, TOP + i * ROW)
    yield "</svg>"


def table(results):
    compared = [r for r in results if r.get("ratio") is not None]
    absolute = [r for r in results if "error" not in r and r["ratio"] is None]
    if compared:
        yield "| row | tidewire, median (min to max) | n | beside | ratio |"
        yield "|---|---|---:|---:|---:|"
        for r in compared:
            yield (f"| `{r['id']}` | {number(r['median'])} {r['unit']} ({number(r['min'])} to {number(r['max'])}) "
                   f"| {r['n']} | {number(r['reference'])} ({r['against']}) | {r['ratio']:.2f} |")
    if absolute:
        if compared:
            yield ""
        yield "| row | median (min to max) | n |"
        yield "|---|---|---:|"
        for r in absolute:
            yield (f"| `{r['id']}` | {number(r['median'])} {r['unit']} ({number(r['min'])} to {number(r['max'])}) "
                   f"| {r['n']} |")
    for r in results:
        if "error" in r:
            yield f"\n`{r['id']}` could not run: {r['error']}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--svg", metavar="OUT")
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    results = json.loads(pathlib.Path(args.file).read_text())
    compared = [r for r in results if r.get("ratio") is not None]
    if args.svg:
        if not compared:
            sys.exit("bench_plot: no row with a reference in " + args.file)
        pathlib.Path(args.svg).write_text("\n".join(svg(compared)) + "\n")
    if args.markdown:
        print("\n".join(table(results)))


if __name__ == "__main__":
    main()
