// Two spellings of the include path work; a stack can be made and asked for its next deadline.
#include <cstdio>
#include <tidewire/core/stack.hpp>

#include "base/memory.hpp"
#include "wire/address.hpp"

int main() {
  tidewire::HeapMemory memory(64U << 20);
  const tidewire::Instant now = tidewire::Instant::from_nanos(0);
  tidewire::Stack stack(tidewire::StackConfig{}, memory, {1, 2}, now);
  const auto address = tidewire::parse_cidr("10.0.2.15/24");
  const auto interface = stack.add_interface({.name = "eth0", .mac = {}}, now);
  if (!address || !interface || !stack.add_address(*interface, *address, now)) return 1;
  std::printf("%s\n", tidewire::to_string(*address).c_str());
}
