// The table of socket options.
#pragma once

#include <cstdint>
#include <span>

#include "front/abi/option.hpp"

namespace tidewire::posix {

/// Who answers an option.
enum class Keeper : std::uint8_t {
  backend,  ///< the stack, as an int
  stored,   ///< remembered and reported, without effect here (or its effect is in netd)
  native,   ///< the twin itself
  fixed,    ///< can be read only; netd knows it
  special,  ///< has its own code
  refused,  ///< with the errno `least`: programs do without
};

struct OptionRow {
  int level;
  int name;
  Keeper keeper;
  Option option = Option::none;
  int least = 0;
  int most = 0x7fffffff;
  bool streams = true;
  bool datagrams = true;
  bool flag = false;  ///< any value counts as 1
};

/// Null for an option nobody knows.
const OptionRow* find_option(int level, int name);
/// Where a backend option has its place in the kernel's interface; null for none.
const OptionRow* find_option(Option option);

}  // namespace tidewire::posix
