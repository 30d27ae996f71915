// Passing signals on to the program.
#pragma once

#include <signal.h>

#include <optional>

#include "front/posix/fd.hpp"

namespace tidewire::posix {

/// Takes the signals a user sends to `run`. What a terminal sends goes to the whole foreground
/// group, the program included, and is not to be passed on a second time.
class SignalRelay {
 public:
  /// Create after the program was started: the signals are blocked in this process from here on.
  SignalRelay();
  ~SignalRelay();
  SignalRelay(const SignalRelay&) = delete;
  SignalRelay& operator=(const SignalRelay&) = delete;

  int descriptor() const noexcept { return fd_.get(); }
  struct Taken {
    int number = 0;
    bool from_terminal = false;  ///< the program has got it, too
  };
  std::optional<Taken> next();

 private:
  Fd fd_;
  sigset_t before_{};
};

}  // namespace tidewire::posix
