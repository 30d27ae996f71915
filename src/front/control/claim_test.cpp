#include "front/control/claim.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include "front/control/client.hpp"
#include "front/control/testing/directory.hpp"

namespace tidewire::control {
namespace {

using test::TemporaryDirectory;

std::optional<Claim> take(const Place& place, const char* name) {
  auto claim = Claim::take(place, name);
  EXPECT_TRUE(claim.has_value()) << claim.error();
  return std::move(*claim);
}

TEST(Claim, OneHolderAndNothingLeftBehind) {
  const TemporaryDirectory directory;
  const Place place = directory.place();
  {
    const auto claim = take(place, "h");
    ASSERT_TRUE(claim.has_value());
    struct stat about{};
    ASSERT_EQ(stat((place.path + "/h.sock").c_str(), &about), 0);
    EXPECT_EQ(about.st_mode & 07777, 0600U);
    EXPECT_FALSE(take(place, "h").has_value());
    EXPECT_TRUE(take(place, "other").has_value());
    const auto client = Client::connect(place, "h");
    ASSERT_TRUE(client.has_value()) << client.error();
    EXPECT_TRUE(client->has_value());
  }
  EXPECT_TRUE(std::filesystem::is_empty(place.path));
  EXPECT_TRUE(take(place, "h").has_value());
}

TEST(Claim, WhatAKilledHolderLeftIsClearedAway) {
  const TemporaryDirectory directory;
  const Place place = directory.place();
  int pipes[2];
  ASSERT_EQ(pipe(pipes), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto claim = Claim::take(place, "h");
    (void)!write(pipes[1], claim && *claim ? "y" : "n", 1);
    pause();
    _exit(0);
  }
  char answer = 0;
  ASSERT_EQ(read(pipes[0], &answer, 1), 1);
  EXPECT_EQ(answer, 'y');
  EXPECT_FALSE(take(place, "h").has_value());
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  close(pipes[0]);
  close(pipes[1]);
  ASSERT_TRUE(std::filesystem::exists(place.path + "/h.sock")) << "killed: it is still there";
  const auto nobody = Client::connect(place, "h");
  ASSERT_TRUE(nobody.has_value()) << nobody.error();
  EXPECT_FALSE(nobody->has_value());
  const auto claim = take(place, "h");
  ASSERT_TRUE(claim.has_value());
  const auto client = Client::connect(place, "h");
  ASSERT_TRUE(client.has_value());
  EXPECT_TRUE(client->has_value());
}

TEST(Claim, AFileInTheWayIsNotFollowed) {
  const TemporaryDirectory directory;
  const Place place = directory.place();
  ASSERT_EQ(symlink("/etc/passwd", (place.path + "/h.lock").c_str()), 0);
  const auto claim = Claim::take(place, "h");
  ASSERT_FALSE(claim.has_value());
  EXPECT_THAT(claim.error(), testing::HasSubstr("h.lock"));
}

TEST(Claim, LongDirectories) {
  const TemporaryDirectory directory;
  PlaceOptions options = directory.options();
  options.runtime_directory += "/" + std::string(200, 'd');
  ASSERT_EQ(mkdir(options.runtime_directory.c_str(), 0700), 0);
  const auto place = open_place(options);
  ASSERT_TRUE(place.has_value()) << place.error();
  EXPECT_EQ(place->path, options.runtime_directory + "/tidewire");
  const std::string name(64, 'n');
  const auto claim = take(*place, name.c_str());
  ASSERT_TRUE(claim.has_value());
  EXPECT_TRUE(Client::connect(*place, name)->has_value());
}

}  // namespace
}  // namespace tidewire::control
