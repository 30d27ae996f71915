// Steering: whatever a frame holds, its shard exists, and is the same again.
#include "fuzz.hpp"
#include "wire/steering.hpp"

using namespace tidewire;
using namespace tidewire::wire;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const ShardMap map{.count = 1U + data[0] % 64U, .key = {data[1], 1}};
  const Bytes frame = as_bytes(data + 2, size - 2);
  for (const Medium medium : {Medium::ethernet, Medium::ip}) {
    const Steering answer = steer(map, medium, frame);
    fuzz::check(answer.owner < map.count && answer.collector < map.count);
    fuzz::check(answer == steer(map, medium, frame));
    fuzz::check(!answer.first_fragment || answer.to == Steering::To::collector);
  }
  return 0;
}
