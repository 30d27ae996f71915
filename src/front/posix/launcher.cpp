#include "front/posix/launcher.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "front/posix/guard.hpp"
#include "runtime/passed_fd.hpp"

namespace tidewire::posix {
namespace {

int status_from_exec_errno(int error) { return error == ENOENT || error == ENOTDIR ? 127 : 126; }

int status_from_wait(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// Receives one message; a descriptor that comes along goes to `fd`. False: none, or the end.
bool receive(int control, GuardMessage& message, Fd* fd, int flags) {
  int descriptor = -1;
  const ssize_t n = runtime::receive_with_fd(control, &message, sizeof message, flags, descriptor);
  Fd passed(descriptor);  // one that nobody asked for is closed
  if (n != sizeof message) {
    if (n == 0) errno = EPIPE;
    return false;
  }
  if (fd != nullptr && passed) *fd = std::move(passed);
  return true;
}

}  // namespace

Launcher::~Launcher() { end_all(); }

Result<GuardMessage, std::string> Launcher::fork_guard(const LaunchConfig& config) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
    return fail(std::string("socketpair: ") + std::strerror(errno));
  }
  control_.reset(pair[0]);
  Fd theirs(pair[1]);
  guard_ = ::fork();
  if (guard_ < 0) return fail(std::string("fork: ") + std::strerror(errno));
  if (guard_ == 0) guard_main(theirs.get(), config);
  theirs.reset();
  for (;;) {
    GuardMessage message{};
    Fd passed;
    if (!receive(control_.get(), message, &passed, 0)) {
      return fail(std::string("the guard process died"));
    }
    switch (message.kind) {
      case GuardMessage::Kind::network:
        network_.emplace();
        network_->own_users = (message.value & has_own_users) != 0;
        network_->interface = (message.value & has_interface) != 0;
        network_->tun = (message.value & has_tun) != 0;
        network_->index = message.detail;
        continue;
      case GuardMessage::Kind::network_control:
        if (network_) network_->control = std::move(passed);
        continue;
      case GuardMessage::Kind::network_carrier:
        if (network_) network_->carrier = std::move(passed);
        continue;
      case GuardMessage::Kind::listener:
        listener_ = std::move(passed);
        return message;
      default:
        return message;
    }
  }
}

void Launcher::reap_guard() {
  control_.reset();
  ::waitpid(guard_, nullptr, 0);
  guard_ = -1;
}

Result<void, std::string> Launcher::start(const LaunchConfig& config) {
  auto answer = fork_guard(config);
  if (answer && answer->kind == GuardMessage::Kind::network_failed) {
    reap_guard();
    network_refused_ = explain(
        {static_cast<NetworkStep>(answer->detail), answer->value, answer->more}, *config.network);
    if (config.network_needed) return fail(network_refused_);
    LaunchConfig without = config;
    without.network.reset();
    answer = fork_guard(without);
  }
  if (!answer) return fail(answer.error());
  if (answer->kind == GuardMessage::Kind::started) return {};
  if (answer->kind != GuardMessage::Kind::listener || !listener_) {
    const int error = answer->value;
    if (error == EBUSY) {
      return fail(
          std::string("another seccomp listener is already in force (a run inside a run, "
                      "or a sandbox): EBUSY"));
    }
    return fail(std::string("the kernel refused the seccomp filter: ") + std::strerror(error) +
                "; in a container use --security-opt seccomp=unconfined");
  }
  return {};
}

void Launcher::process() {
  if (guard_gone_) return;
  GuardMessage message{};
  while (receive(control_.get(), message, nullptr, MSG_DONTWAIT)) {
    switch (message.kind) {
      case GuardMessage::Kind::exec_failed:
        ending_.exec_errno = message.value;
        ending_.status = status_from_exec_errno(message.value);
        break;
      case GuardMessage::Kind::program_ended:
        ended_ = true;
        if (ending_.exec_errno == 0) ending_.status = status_from_wait(message.value);
        break;
      case GuardMessage::Kind::all_ended:
        all_ended_ = true;
        break;
      default:
        break;
    }
  }
  if (errno == EAGAIN || errno == EWOULDBLOCK) return;
  // The guard is gone; if it never said why, the program's end is unknown.
  guard_gone_ = true;
  ended_ = true;
  all_ended_ = true;
  // The end of the stream would wake whoever watches the descriptor again and again.
  const Fd silent(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (silent) ::dup3(silent.get(), control_.get(), O_CLOEXEC);
}

void Launcher::forward_signal(int number) {
  const GuardMessage message{GuardMessage::Kind::forward, number};
  (void)::send(control_.get(), &message, sizeof message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void Launcher::end_all() {
  if (guard_ <= 0) return;
  if (!all_ended_) {
    const GuardMessage message{GuardMessage::Kind::end_all, 0};
    (void)::send(control_.get(), &message, sizeof message, MSG_NOSIGNAL | MSG_DONTWAIT);
    for (int round = 0; round < 200 && !all_ended_; ++round) {
      pollfd look{control_.get(), POLLIN, 0};
      if (::poll(&look, 1, 10) > 0) process();
    }
  }
  // Losing the control socket makes the guard kill what is left, however long that takes.
  control_.reset();
  if (all_ended_) ::waitpid(guard_, nullptr, 0);
  guard_ = -1;
}

}  // namespace tidewire::posix
