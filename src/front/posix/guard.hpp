// The process between `run` and the program.
#pragma once

#include <cstdint>

#include "front/posix/launcher.hpp"

namespace tidewire::posix {

/// Messages of the control socket (SEQPACKET), both ways.
struct GuardMessage {
  enum class Kind : std::int32_t {
    network,          ///< guard: value is a sum of network_bits, detail an interface's number
    network_control,  ///< guard: carries OwnNetwork::control
    network_carrier,  ///< guard: carries OwnNetwork::carrier
    network_failed,   ///< guard: value is an errno, detail a NetworkStep, more a number with it
    listener,         ///< guard: carries the notification descriptor
    started,          ///< guard: the same, without one
    start_failed,     ///< guard: value is an errno, the filter could not be installed
    exec_failed,      ///< guard: value is an errno
    program_ended,    ///< guard: value is a wait status
    all_ended,        ///< guard: nothing is left, the guard exits
    forward,          ///< run: value is a signal for the program
    end_all,          ///< run: kill everything
  };
  Kind kind;
  std::int32_t value;
  std::int32_t detail = 0;
  std::int32_t more = 0;
};

/// What OwnNetwork says without descriptors.
enum NetworkBits : std::int32_t { has_own_users = 1, has_interface = 2, has_tun = 4 };

/// Runs in the guard process; never returns.
[[noreturn]] void guard_main(int control, const LaunchConfig& config);

}  // namespace tidewire::posix
