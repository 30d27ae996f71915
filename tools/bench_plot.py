#!/usr/bin/env python3
"""Draws what ./dev bench --json FILE measured: bars beside the references as SVG, tables in Markdown.

Usage: bench_plot.py FILE [--svg OUT.svg] [--curve OUT.svg] [--markdown]
A bar is as long as the ratio to the reference, on a logarithmic scale; the line is 1. Rows without a
reference are in the tables only. The curve is of the rows busy_packet_ns_N: nanoseconds a packet over N
connections, both on logarithmic scales.
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


CURVE = "busy_packet_ns_"
PLOT_X, PLOT_Y, PLOT_WIDTH, PLOT_HEIGHT = 70, 40, 480, 240


def curve(rows):
    """Rows CURVE + N as a line with the range of each point."""
    points = sorted((int(r["id"].removeprefix(CURVE)), r) for r in rows)
    counts = [n for n, _ in points]
    decades = [10 ** e for e in range(math.floor(math.log10(counts[0])), math.ceil(math.log10(counts[-1])) + 1)]
    most = max(r["max"] for _, r in points)
    marks = [m * 10 ** e for e in range(2, 7) for m in (1, 2, 5)]
    marks = [m for m in marks if m <= next((k for k in marks if k >= most), marks[-1])]

    def x(n):
        return PLOT_X + PLOT_WIDTH * math.log(n / decades[0]) / max(math.log(decades[-1] / decades[0]), 1)

    def y(ns):
        return PLOT_Y + PLOT_HEIGHT * (1 - math.log(max(ns, marks[0]) / marks[0]) / math.log(marks[-1] / marks[0]))

    width, height = PLOT_X + PLOT_WIDTH + 80, PLOT_Y + PLOT_HEIGHT + 40
    yield (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
           f'font-family="sans-serif" font-size="11">')
    yield "<style>.c{text-anchor:middle}.r{text-anchor:end}</style>"
    yield f'<rect width="{width}" height="{height}" fill="#fff"/>'
    yield '<text x="8" y="16" font-size="13" font-weight="bold">Nanoseconds a packet over busy connections</text>'
    for mark in marks:
        yield f'<text x="{PLOT_X - 8}" y="{y(mark) + 4:.1f}" class="r">{mark:,}</text>'
        yield f'<line x1="{PLOT_X}" y1="{y(mark):.1f}" x2="{PLOT_X + PLOT_WIDTH}" y2="{y(mark):.1f}" stroke="#ddd"/>'
    for n in decades:
        yield f'<text x="{x(n):.1f}" y="{PLOT_Y + PLOT_HEIGHT + 18}" class="c">{n:,}</text>'
        yield f'<line x1="{x(n):.1f}" y1="{PLOT_Y}" x2="{x(n):.1f}" y2="{PLOT_Y + PLOT_HEIGHT}" stroke="#ddd"/>'
    line = " ".join(f"{x(n):.1f},{y(r['median']):.1f}" for n, r in points)
    yield f'<polyline points="{line}" fill="none" stroke="{ABOVE}" stroke-width="2"/>'
    for n, r in points:
        yield (f'<line x1="{x(n):.1f}" y1="{y(r["min"]):.1f}" x2="{x(n):.1f}" y2="{y(r["max"]):.1f}" '
               f'stroke="{ABOVE}"/>')
        yield f'<circle cx="{x(n):.1f}" cy="{y(r["median"]):.1f}" r="3" fill="{ABOVE}"/>'
        yield f'<text x="{x(n) + 6:.1f}" y="{y(r["median"]) - 8:.1f}">{number(r["median"])}</text>'
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
    parser.add_argument("--curve", metavar="OUT")
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    results = json.loads(pathlib.Path(args.file).read_text())
    compared = [r for r in results if r.get("ratio") is not None]
    if args.svg:
        if not compared:
            sys.exit("bench_plot: no row with a reference in " + args.file)
        pathlib.Path(args.svg).write_text("\n".join(svg(compared)) + "\n")
    if args.curve:
        busy = [r for r in results if r["id"].startswith(CURVE) and "error" not in r]
        if len(busy) < 2:
            sys.exit(f"bench_plot: fewer than two rows {CURVE}N in {args.file}")
        pathlib.Path(args.curve).write_text("\n".join(curve(busy)) + "\n")
    if args.markdown:
        print("\n".join(table(results)))


if __name__ == "__main__":
    main()
