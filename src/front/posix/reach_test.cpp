#include "front/posix/reach.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "front/posix/fd.hpp"
#include "front/posix/features.hpp"

namespace tidewire::posix {
namespace {

using ::testing::HasSubstr;

volatile std::uint64_t cell = 0x1234567890;

class ReachTest : public ::testing::Test {
 protected:
  ReachTest() : child_(fork()) {
    if (child_ == 0) {
      pause();
      _exit(0);
    }
  }
  ~ReachTest() override {
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
  }
  std::string explain(pid_t pid, std::uint64_t word, bool copies) {
    const auto address = reinterpret_cast<std::uint64_t>(&cell);
    return explain_out_of_reach(pid, address, word, copies);
  }
  pid_t child_;
};

TEST_F(ReachTest, AChildOfOursIsReached) {
  const Features features = probe_features();
  if (!features.process_vm) GTEST_SKIP() << "process_vm_readv is denied here";
  EXPECT_EQ(explain(child_, cell, features.pidfd_getfd), "");
}

TEST_F(ReachTest, WhoHasAnotherWordIsSomebodyElse) {
  if (!probe_features().process_vm) GTEST_SKIP() << "process_vm_readv is denied here";
  EXPECT_THAT(explain(child_, cell + 1, false), HasSubstr("in another process namespace"));
  EXPECT_THAT(explain(0, cell, false), HasSubstr("in another process namespace"));
}

TEST_F(ReachTest, WhoIsGoneIsOutOfReach) {
  kill(child_, SIGKILL);
  waitpid(child_, nullptr, 0);
  EXPECT_THAT(explain(child_, cell, false), HasSubstr("cannot be served from here"));
}

TEST_F(ReachTest, ChildrenAreKnownByTheirParent) {
  EXPECT_TRUE(is_child_of(child_, getpid()));
  EXPECT_FALSE(is_child_of(getpid(), child_));
  EXPECT_FALSE(is_child_of(0, getpid()));
}

TEST(Listener, OtherDescriptorsAreNone) {
  const Fd null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_FALSE(is_listener(null.get()));
  EXPECT_FALSE(is_listener(-1));
}

}  // namespace
}  // namespace tidewire::posix
