// A tidewire stack with one interface, 10.77.0.2/24, for a device of a benchmark.
#pragma once

#include "core/stack.hpp"
#include "device/device.hpp"
#include "kernel_side.hpp"
#include "runtime/clock.hpp"
#include "runtime/pool_memory.hpp"

namespace tidewire::bench {

inline constexpr const char* kKernelAddress = "10.77.0.1";  ///< the kernel's end of the link

class TapStack {
 public:
  TapStack(const device::Device& link, StackConfig config, RandomSeed seed)
      : stack(with_timer(config), memory_, seed, runtime::Clock::now()) {
    const Instant now = runtime::Clock::now();
    const device::Capabilities can = link.capabilities();
    const auto added = stack.add_interface({.name = "tap",
                                            .medium = can.medium,
                                            .mac = can.mac,
                                            .mtu = can.mtu,
                                            .trusted = can.rx_trusted},
                                           now);
    if (!added) give_up("add_interface");
    interface = *added;
    if (!stack.add_address(interface, {IpAddress::v4(10, 77, 0, 2), 24}, now)) {
      give_up("add_address");
    }
  }

 private:
  static StackConfig with_timer(StackConfig config) {
    config.timer_accuracy = Duration::micros(250);
    return config;
  }
  runtime::PoolMemory memory_{std::size_t{1} << 30};

 public:
  Stack stack;
  InterfaceId interface;
};

}  // namespace tidewire::bench
