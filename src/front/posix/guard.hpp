// The process between `run` and the program.
#pragma once

#include <cstdint>

#include "front/posix/launcher.hpp"

namespace tidewire::posix {

/// Messages of the control socket (SEQPACKET), both ways.
struct GuardMessage {
  enum class Kind : std::int32_t {
    listener,       ///< guard: carries the notification descriptor
    start_failed,   ///< guard: value is an errno, the filter could not be installed
    exec_failed,    ///< guard: value is an errno
    program_ended,  ///< guard: value is a wait status
    all_ended,      ///< guard: nothing is left, the guard exits
    forward,        ///< run: value is a signal for the program
    end_all,        ///< run: kill everything
  };
  Kind kind;
  std::int32_t value;
};

/// Runs in the guard process; never returns.
[[noreturn]] void guard_main(int control, const LaunchConfig& config);

}  // namespace tidewire::posix
