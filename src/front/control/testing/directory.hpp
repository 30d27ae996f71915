// What the tests of this folder share.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "front/control/place.hpp"

namespace tidewire::control::test {

/// A directory that goes with its test.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    const char* base = std::getenv("TMPDIR");
    std::string name = std::string(base == nullptr ? "/tmp" : base) + "/control-XXXXXX";
    path_ = mkdtemp(name.data());
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::string& path() const noexcept { return path_; }
  PlaceOptions options() const {
    return {.runtime_directory = path_, .temporary = path_, .uid = geteuid()};
  }
  Place place() const {
    auto opened = open_place(options());
    EXPECT_TRUE(opened.has_value()) << opened.error();
    return std::move(*opened);
  }

 private:
  std::string path_;
};

}  // namespace tidewire::control::test
