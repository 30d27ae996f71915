#!/usr/bin/env python3
"""Every file and function that docs/tour.md names exists, and the links in the documents lead somewhere."""
import pathlib
import re
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]


class Tour(unittest.TestCase):
    def setUp(self):
        self.text = (TOP / "docs" / "tour.md").read_text()
        self.names = re.findall(r"`([^`]+)`", self.text)

    def test_files(self):
        files = [n for n in self.names if re.fullmatch(r"[\w/]+\.[ch]pp", n)]
        self.assertGreater(len(files), 40)
        self.assertEqual([f for f in files if not (TOP / "src" / f).is_file()], [])

    def test_functions(self):
        code = "\n".join(p.read_text() for p in (TOP / "src").rglob("*.[ch]pp"))
        functions = [n for n in self.names if re.fullmatch(r"[A-Z]\w+::\w+|[a-z]+_\w+", n)]
        self.assertGreater(len(functions), 25)
        missing = [f for f in functions if not re.search(rf"\b{f.rsplit('::', 1)[-1]}\b\s*\(", code)]
        self.assertEqual(missing, [])


class Links(unittest.TestCase):
    def test_relative_links(self):
        broken = []
        for page in [*TOP.glob("*.md"), *(TOP / "docs").rglob("*.md")]:
            for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text()):
                if not (page.parent / target).exists():
                    broken.append(f"{page.relative_to(TOP)}: {target}")
        self.assertEqual(broken, [])


if __name__ == "__main__":
    unittest.main()
