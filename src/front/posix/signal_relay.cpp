#include "front/posix/signal_relay.hpp"

#include <sys/signalfd.h>

namespace tidewire::posix {

SignalRelay::SignalRelay() {
  sigset_t taken;
  sigemptyset(&taken);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGALRM}) {
    sigaddset(&taken, number);
  }
  ::sigprocmask(SIG_BLOCK, &taken, &before_);
  fd_.reset(::signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK));
}

SignalRelay::~SignalRelay() { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }

std::optional<int> SignalRelay::next() {
  signalfd_siginfo info;
  while (::read(fd_.get(), &info, sizeof info) == sizeof info) {
    if (info.ssi_code == SI_KERNEL) continue;
    return static_cast<int>(info.ssi_signo);
  }
  return std::nullopt;
}

}  // namespace tidewire::posix
