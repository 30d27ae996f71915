// What the interception does not reach, told once.
#include <sys/syscall.h>

#include "front/posix/netd.hpp"

namespace tidewire::posix {
namespace {

constexpr std::size_t most_looked_at = 4096;

}  // namespace

Outcome Netd::on_uncovered_call(const Call& call) {
  const auto what = call.number == SYS_seccomp ? Uncovered::other_listener : Uncovered::io_uring;
  tell_uncovered(what, tasks_.program_of(call.tid));
  return Outcome::through();
}

void Netd::look_at_program(pid_t tid) {
  if (!hooks_.on_uncovered || looked_at_.contains(tid)) return;
  if (looked_at_.size() >= most_looked_at) looked_at_.clear();
  looked_at_.insert(tid);
  if (tasks_.is_privileged_file(tid)) {
    tell_uncovered(Uncovered::lost_privileges, tasks_.program_of(tid));
  }
}

void Netd::tell_uncovered(Uncovered what, const std::string& program) {
  if (hooks_.on_uncovered && told_.emplace(what, program).second) {
    hooks_.on_uncovered(what, program);
  }
}

}  // namespace tidewire::posix
