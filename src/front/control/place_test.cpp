#include "front/control/place.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "front/control/testing/directory.hpp"

namespace tidewire::control {
namespace {

using test::TemporaryDirectory;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

mode_t mode_of(const std::string& path) {
  struct stat about{};
  EXPECT_EQ(lstat(path.c_str(), &about), 0) << path;
  return about.st_mode & 07777;
}

std::string refusal(const PlaceOptions& options) {
  const auto place = open_place(options);
  EXPECT_FALSE(place.has_value());
  return place ? "" : place.error();
}

TEST(Place, IsMadeForItsUserAlone) {
  const TemporaryDirectory directory;
  umask(0);
  const Place place = directory.place();
  umask(022);
  EXPECT_EQ(place.path, directory.path() + "/tidewire");
  EXPECT_EQ(mode_of(place.path), 0700U);
  EXPECT_EQ(directory.place().path, place.path) << "the same again";
}

TEST(Place, WithoutARuntimeDirectoryItIsATemporaryOne) {
  const TemporaryDirectory directory;
  PlaceOptions options = directory.options();
  const std::string expected = directory.path() + "/tidewire-" + std::to_string(geteuid());
  for (const char* where : {"", "/nonexistent", "/dev/null"}) {
    options.runtime_directory = where;
    const auto place = open_place(options);
    ASSERT_TRUE(place.has_value()) << place.error();
    EXPECT_EQ(place->path, expected);
  }
}

TEST(Place, RefusesWhatIsNotItsOwn) {
  const TemporaryDirectory directory;
  PlaceOptions options = directory.options();
  const std::string path = directory.path() + "/tidewire";
  ASSERT_EQ(symlink("/tmp", path.c_str()), 0);
  EXPECT_THAT(refusal(options), HasSubstr("is no directory (or a link to one)"));
  unlink(path.c_str());
  std::ofstream(path).put('x');
  EXPECT_THAT(refusal(options), HasSubstr("is no directory"));
  unlink(path.c_str());
  ASSERT_EQ(mkdir(path.c_str(), 0700), 0);
  chmod(path.c_str(), 0750);
  EXPECT_THAT(refusal(options), HasSubstr("others may enter"));
  chmod(path.c_str(), 0700);
  options.uid = geteuid() + 1;
  EXPECT_THAT(refusal(options), HasSubstr("belongs to user " + std::to_string(geteuid())));
}

TEST(Place, NamesOfHosts) {
  for (const char* name : {"h", "web.1", "A_b-c", "9", "run-12"}) EXPECT_TRUE(is_host_name(name));
  for (const char* name : {"", ".", "..", "-h", ".h", "a/b", "a b", "a\n", "ä", "a%"}) {
    EXPECT_FALSE(is_host_name(name)) << name;
  }
  EXPECT_TRUE(is_host_name(std::string(64, 'a')));
  EXPECT_FALSE(is_host_name(std::string(65, 'a')));
  EXPECT_EQ(name_of_run(12), "run-12");
  EXPECT_TRUE(is_run_name("run-12"));
  for (const char* name : {"run-", "run-1a", "run", "xrun-1"}) EXPECT_FALSE(is_run_name(name));
}

TEST(Place, ListsSocketsOnly) {
  const TemporaryDirectory directory;
  const Place place = directory.place();
  for (const char* file : {"b.sock", "a.sock", "a.lock", ".hidden.sock", "-x.sock", ".sock"}) {
    std::ofstream(place.path + "/" + file).put('x');
  }
  EXPECT_THAT(host_names(place), ElementsAre("a", "b"));
}

}  // namespace
}  // namespace tidewire::control
