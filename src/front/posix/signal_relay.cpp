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

std::optional<SignalRelay::Taken> SignalRelay::next() {
  signalfd_siginfo info;
  if (::read(fd_.get(), &info, sizeof info) != sizeof info) return std::nullopt;
  return Taken{static_cast<int>(info.ssi_signo), info.ssi_code == SI_KERNEL};
}

}  // namespace tidewire::posix
