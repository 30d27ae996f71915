// Prints the hash of one seeded world's captures: the same for every compiler and build type.
#include "world_hash.hpp"

#include <cstdio>

int main() {
  const tidewire::sim::WorldHash world = tidewire::sim::hash_of_world({42, 1});
  std::printf("%016llx %llu packets\n", static_cast<unsigned long long>(world.hash),
              static_cast<unsigned long long>(world.packets));
  return world.complete ? 0 : 1;
}
