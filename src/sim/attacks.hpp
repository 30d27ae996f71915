// What hostile TCP peers try, and what it costs the attacked stack.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

namespace tidewire::sim {

struct AttackCost {
  std::uint64_t packets = 0;    ///< of the attacker
  std::uint64_t answers = 0;    ///< of the victim, to the attacker
  std::size_t before = 0;       ///< bytes of memory the victim held before it met the attacker
  std::size_t most = 0;         ///< the most it held during the attack
  std::size_t after = 0;        ///< an hour after its application had let go: kept for new use
  std::size_t left = 0;         ///< sockets that were left then
  bool newcomers = false;       ///< an honest host could connect and was served during the attack
  bool old_connection = false;  ///< a connection from before the attack still worked after it
};

/// Told when the preparations are over and when the attack is: for clocks.
struct AttackClock {
  std::function<void()> begin = [] {};
  std::function<void()> end = [] {};
};

struct Attack {
  std::string_view name;
  AttackCost (*run)(std::uint64_t seed, const AttackClock& clock);
  std::size_t memory;     ///< bytes that `most` may exceed `before` by
  std::uint32_t answers;  ///< packets the victim may send for each hundred of the attacker
};

/// All of them, each in an Arena of its own.
std::span<const Attack> attacks() noexcept;

}  // namespace tidewire::sim
