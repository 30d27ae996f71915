#!/usr/bin/env python3
"""The checks find what they are for, and nothing in clean code."""
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
import check_includes  # noqa: E402
import check_style  # noqa: E402
import source_text  # noqa: E402


def findings(module, files):
    with tempfile.TemporaryDirectory() as directory:
        top = pathlib.Path(directory)
        for name, text in files.items():
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_text(text)
        return module.check(top, [pathlib.Path(name) for name in files])


class Includes(unittest.TestCase):
    def one(self, path, include):
        return findings(check_includes, {path: f"#include {include}\n"})

    def test_allowed(self):
        for path, include in [("src/base/a.cpp", "<span>"), ("src/wire/a.cpp", '"base/bytes.hpp"'),
                              ("src/core/ip/a.cpp", '"wire/ipv4.hpp"'),
                              ("src/core/a.cpp", "<boost/unordered/unordered_flat_map.hpp>"),
                              ("src/device/backends/a.cpp", "<sys/socket.h>"),
                              ("src/sim/a.cpp", '"core/stack.hpp"'),
                              ("src/runtime/a.cpp", "<poll.h>"),
                              ("src/front/gateway/a.cpp", '"front/async/socket.hpp"'),
                              ("src/core/a_test.cpp", "<gtest/gtest.h>"),
                              ("apps/a.cpp", '"device/factory.hpp"')]:
            self.assertEqual(self.one(path, include), [], (path, include))

    def test_forbidden(self):
        for path, include in [("src/base/a.cpp", '"wire/address.hpp"'), ("src/base/a.cpp", "<mutex>"),
                              ("src/wire/a.cpp", "<arpa/inet.h>"),
                              ("src/wire/a.cpp", '"core/stack.hpp"'),
                              ("src/core/ip/a.cpp", "<thread>"), ("src/core/a.cpp", "<unistd.h>"),
                              ("src/core/a.cpp", '"device/device.hpp"'),
                              ("src/core/tcp/cc/a.cpp", '"core/tcp/connection.hpp"'),
                              ("src/core/tcp/recover/a.cpp", '"core/stack.hpp"'),
                              ("src/device/a.cpp", '"core/stack.hpp"'),
                              ("src/device/wrap/a.cpp", '"device/backends/tap.hpp"'),
                              ("src/sim/a.cpp", "<sys/time.h>"),
                              ("src/sim/a.cpp", '"core/tcp/connection.hpp"'),
                              ("src/runtime/a.cpp", '"core/ip/route.hpp"'),
                              ("src/runtime/a.cpp", '"front/posix/netd.hpp"'),
                              ("src/front/posix/a.cpp", '"front/gateway/nat.hpp"'),
                              ("src/front/posix/a.cpp", '"device/backends/tap.hpp"'),
                              ("apps/a.cpp", '"core/tcp/connection.hpp"')]:
            self.assertEqual(len(self.one(path, include)), 1, (path, include))

    def test_header_guard(self):
        self.assertEqual(len(findings(check_includes, {"src/base/a.hpp": "int a();\n"})), 1)
        self.assertEqual(findings(check_includes, {"src/base/a.hpp": "#pragma once\n"}), [])


class Style(unittest.TestCase):
    def test_clean(self):
        text = "// a double room\nint f() { return 1'000; }\nconst char* s = \"1.5 float\";\n"
        self.assertEqual(findings(check_style, {"src/core/a.cpp": text}), [])

    def test_floating_point(self):
        for text in ("double x = 0;\n", "auto x = 1.5;\n", "float f(int);\n", "auto x = 1e9;\n"):
            self.assertEqual(len(findings(check_style, {"src/sim/a.cpp": text})), 1, text)
            self.assertEqual(findings(check_style, {"src/report/a.cpp": text}), [])

    def test_macros(self):
        self.assertEqual(len(findings(check_style, {"src/core/a.cpp": "#if 1\n#endif\n"})), 1)
        self.assertEqual(len(findings(check_style, {"src/wire/a.hpp": "#define A 1\n"})), 1)

    def test_static_state(self):
        self.assertEqual(len(findings(check_style, {"src/core/a.cpp": "static int counter = 0;\n"})), 1)
        self.assertEqual(findings(check_style, {"src/core/a.cpp": "static constexpr int k = 0;\n"}), [])
        self.assertEqual(findings(check_style, {"src/core/a.cpp": "static int f(int a);\n"}), [])

    def test_lengths(self):
        long_function = "int f() {\n" + "  g();\n" * 80 + "}\n"
        self.assertEqual(len(findings(check_style, {"src/base/a.cpp": long_function})), 1)
        self.assertEqual(len(findings(check_style, {"src/base/a.cpp": "int a;\n" * 501})), 1)

    def test_words(self):
        self.assertEqual(len(findings(check_style, {"docs/a.md": "see /wor" + "k/x\n"})), 1)
        self.assertEqual(len(findings(check_style, {"apps/a.cpp": "// TO" + "DO: more\n"})), 1)


class Functions(unittest.TestCase):
    def names(self, text):
        return [(name, last - first + 1) for first, last, name in source_text.functions(text)]

    def test_found(self):
        text = """namespace a {
class B {
 public:
  B(int a,
    int b)
      : a_(a) {
    use();
  }
  int get() const { return a_; }
};
A::A(int a,
     int b)
    : a_(a),
      b_(b) {
  use();
}
template <class T>
int C<T>::run(int x) const noexcept {
  auto f = [&](int y) {
    return y;
  };
  if (x) {
    return f(x);
  }
  return 0;
}
TEST(Suite, Name) {
  EXPECT_TRUE(true);
}
}
"""
        self.assertEqual([length for _, length in self.names(text)], [5, 6, 9, 3])


if __name__ == "__main__":
    unittest.main()
