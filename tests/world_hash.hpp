// One seeded world with a bit of everything, and the hash of its captures.
#pragma once

#include <cstdint>

#include "base/random.hpp"

namespace tidewire::sim {

struct WorldHash {
  std::uint64_t hash = 0;     ///< of the pcapng bytes of every host's device
  std::uint64_t packets = 0;  ///< in the capture
  bool complete = false;      ///< the transfers of the world succeeded
};

WorldHash hash_of_world(const RandomSeed& seed);

}  // namespace tidewire::sim
