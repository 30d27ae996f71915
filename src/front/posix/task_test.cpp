#include "front/posix/task.hpp"

#include <gtest/gtest.h>

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstddef>

namespace tidewire::posix {
namespace {

std::size_t open_descriptors() {
  DIR* dir = ::opendir("/proc/self/fd");
  std::size_t count = 0;
  while (dir != nullptr && ::readdir(dir) != nullptr) ++count;
  if (dir != nullptr) ::closedir(dir);
  return count;
}

pid_t start_program() {
  const pid_t child = fork();
  if (child == 0) {
    for (;;) ::pause();
  }
  return child;
}

void end_program(pid_t child) {
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
}

TEST(Tasks, NothingIsKeptOfProgramsThatHaveEnded) {
  Tasks tasks{Features{}};
  const std::size_t before = open_descriptors();
  std::array<pid_t, 100> programs{};
  for (pid_t& program : programs) {
    program = start_program();
    EXPECT_NE(tasks.program_of(program), "");
  }
  EXPECT_EQ(open_descriptors(), before + 2 * programs.size());
  pollfd look{tasks.descriptor(), POLLIN, 0};
  EXPECT_EQ(::poll(&look, 1, 0), 0);

  for (const pid_t program : programs) end_program(program);
  for (int turn = 0; turn < 10 && ::poll(&look, 1, 0) > 0; ++turn) tasks.drop_ended();
  EXPECT_EQ(open_descriptors(), before);
}

TEST(Tasks, AProgramThatRunsKeepsItsName) {
  Tasks tasks{Features{}};
  const pid_t first = start_program();
  const pid_t second = start_program();
  const std::string name = tasks.program_of(first);
  EXPECT_EQ(tasks.program_of(second), name);
  end_program(first);
  tasks.drop_ended();
  EXPECT_EQ(tasks.program_of(second), name);
  EXPECT_EQ(tasks.program_of(first), "");
  end_program(second);
}

}  // namespace
}  // namespace tidewire::posix
