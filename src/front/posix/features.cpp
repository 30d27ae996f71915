#include "front/posix/features.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <cerrno>

#include "front/posix/fd.hpp"
#include "front/posix/filter.hpp"
#include "front/posix/kernel_abi.hpp"

namespace tidewire::posix {
namespace {

bool filter_flags_known(unsigned long flags) {
  // With a null program a kernel that knows the flags gets as far as EFAULT.
  return abi::seccomp(SECCOMP_SET_MODE_FILTER, flags, nullptr) < 0 && errno == EFAULT;
}

bool probe_unix_oob() {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) return false;
  const Fd a(pair[0]);
  const Fd b(pair[1]);
  if (::send(a.get(), "!", 1, MSG_OOB | MSG_NOSIGNAL) != 1) return false;
  pollfd look{b.get(), POLLPRI, 0};
  return ::poll(&look, 1, 0) == 1 && (look.revents & POLLPRI) != 0;
}

struct ChildView {
  bool getfd = false;
  bool vm = false;
};

// Whether a child's descriptors and memory can be reached, tried on a real child.
ChildView probe_child() {
  ChildView view;
  static volatile int cell = 42;
  const pid_t child = ::fork();
  if (child < 0) return view;
  if (child == 0) {
    ::pause();
    ::_exit(0);
  }
  {
    const Fd pidfd(abi::pidfd_open(child, 0));
    if (pidfd) {
      const Fd got(abi::pidfd_getfd(pidfd.get(), 0));
      view.getfd = got || errno == EBADF;
    }
    int copy = 0;
    iovec local{&copy, sizeof copy};
    iovec remote{const_cast<int*>(&cell), sizeof copy};
    view.vm = ::process_vm_readv(child, &local, 1, &remote, 1, 0) == sizeof copy && copy == 42;
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  return view;
}

struct Name {
  std::string_view word;
  bool Features::* member;
};
constexpr Name switchable[] = {
    {"wait_killable", &Features::wait_killable}, {"sync_wake_up", &Features::sync_wake_up},
    {"pidfd_thread", &Features::pidfd_thread},   {"pidfd_getfd", &Features::pidfd_getfd},
    {"unix_oob", &Features::unix_oob},
};

}  // namespace

Features probe_features() {
  Features f;
  f.user_notification = filter_flags_known(SECCOMP_FILTER_FLAG_NEW_LISTENER);
  f.wait_killable =
      filter_flags_known(SECCOMP_FILTER_FLAG_NEW_LISTENER | abi::filter_flag_wait_killable);
  f.unix_oob = probe_unix_oob();
  const Fd thread(abi::pidfd_open(static_cast<pid_t>(::syscall(SYS_gettid)), abi::pidfd_thread));
  f.pidfd_thread = static_cast<bool>(thread);
  const ChildView child = probe_child();
  f.pidfd_getfd = child.getfd;
  f.process_vm = child.vm;
  // SET_FLAGS can only be tried on a listener; the notifier clears this when it is refused.
  f.sync_wake_up = f.user_notification;
  return f;
}

std::string switch_off(Features& features, std::string_view words) {
  while (!words.empty()) {
    const std::size_t comma = words.find(',');
    const std::string_view word = words.substr(0, comma);
    bool known = word.empty();
    for (const Name& name : switchable) {
      if (name.word != word) continue;
      features.*name.member = false;
      known = true;
    }
    if (!known) return std::string(word);
    words = comma == std::string_view::npos ? std::string_view{} : words.substr(comma + 1);
  }
  return {};
}

std::vector<std::string> explain_missing(const Features& f) {
  std::vector<std::string> lines;
  if (!f.user_notification) {
    lines.emplace_back(
        "seccomp user notification is refused: programs cannot be run (needs Linux 5.14 and a "
        "container filter that allows seccomp, e.g. --security-opt seccomp=unconfined)");
  }
  if (!f.process_vm) {
    lines.emplace_back(
        "process_vm_readv is refused: programs cannot be run (in a container: --cap-add "
        "SYS_PTRACE)");
  }
  if (!f.pidfd_getfd) {
    lines.emplace_back(
        "pidfd_getfd is refused: sockets are known by inode, a program's last close of a UDP or "
        "listening socket is seen up to a second late (in a container: --cap-add SYS_PTRACE)");
  }
  if (!f.wait_killable) {
    lines.emplace_back(
        "no SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (Linux 5.19): signals may interrupt socket "
        "calls; answers are kept and replayed");
  }
  if (!f.unix_oob) {
    lines.emplace_back("no MSG_OOB on unix sockets: urgent data does not reach programs");
  }
  return lines;
}

}  // namespace tidewire::posix
