// What `run` and its library in LD_PRELOAD agree on: accept() that is the kernel's alone.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tidewire::posix::native_accept {

/// The filter lets accept() and getsockopt() pass that write here. The library maps it, and where
/// something lies there already it does without.
inline constexpr std::uint64_t region = 0x3477'0000'0000;  // where nobody's loader puts anything
inline constexpr std::size_t region_bytes = 64UL * 1024;
static_assert((region & 0xffff'ffff) == 0, "the filter compares halves");

/// The abstract name of our end of a connection that is offered: `prefix`, the process, '-', its
/// serial number; then a zero, a Kind, and the address of the peer as accept() tells it.
inline constexpr char prefix[] = "tidewire-";

enum class Kind : char {
  plain = 'a',  ///< nothing more to do
  told = 't',   ///< `run` must hear of it: any call that is intercepted does
  mark = 's',   ///< no connection: the listener was shut down
};

}  // namespace tidewire::posix::native_accept
