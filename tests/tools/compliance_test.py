#!/usr/bin/env python3
"""The compliance report finds the test that a comment belongs to, and notices what is wrong."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tools"))
import compliance  # noqa: E402

ROWS = ("id\trfc\tlevel\tsection\trequirement\n"
        "RFC1-MUST-1\tRFC1\tMUST\t1\tDo this\nRFC1-MUST-2\tRFC1\tMUST NOT\t2\tDo that\n"
        "RFC1-3.1-1\tRFC1\tMUST\t3.1\tAlso this\nRFC1-SHLD-1\tRFC1\tSHOULD\t4\tPerhaps\n")
TEST_FILE = """// req: RFC1-MUST-1, RFC1-MUST-2
TEST(Suite, First) {
}
TEST(Suite, Second) {
  // req: RFC1-3.1-1,
  //   RFC1-MUST-2
}
"""


class Compliance(unittest.TestCase):
    def test_sites(self):
        sites = list(compliance.test_sites(pathlib.Path("a_test.cpp"), TEST_FILE))
        self.assertEqual(sites, [("RFC1-MUST-1", "Suite.First"), ("RFC1-MUST-2", "Suite.First"),
                                 ("RFC1-3.1-1", "Suite.Second"), ("RFC1-MUST-2", "Suite.Second")])

    def run_tool(self, top, *arguments):
        return subprocess.run([sys.executable, str(TOP / "tools" / "compliance.py"), "--top", str(top),
                               *arguments], capture_output=True, text=True)

    def test_whole_run(self):
        with tempfile.TemporaryDirectory() as directory:
            top = pathlib.Path(directory)
            subprocess.run(["git", "init", "-q", directory], check=True)
            (top / "docs").mkdir()
            (top / "docs" / "requirements.tsv").write_text(ROWS)
            (top / "a_test.cpp").write_text("// req: RFC1-MUST-1\nTEST(A, B) {}\n")
            missing = self.run_tool(top, "--missing").stdout
            self.assertEqual([line.split("\t")[0] for line in missing.splitlines()],
                             ["RFC1-MUST-2", "RFC1-3.1-1"])
            self.assertEqual(self.run_tool(top, "--check").returncode, 1)
            self.assertEqual(self.run_tool(top).returncode, 0)
            self.assertEqual(self.run_tool(top, "--check").returncode, 0)
            self.assertIn("| all | 3 | 1 | 0 | 2 | 0 of 1 |", (top / "docs" / "compliance.md").read_text())
            (top / "b_test.cpp").write_text("// req: RFC1-MUST-9\nTEST(A, C) {}\n")
            self.assertIn("unknown requirement RFC1-MUST-9", self.run_tool(top, "--check").stdout)


if __name__ == "__main__":
    unittest.main()
