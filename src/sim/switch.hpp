// A learning Ethernet switch.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "device/device.hpp"

namespace tidewire::sim {

/// Learns which address is behind which port; floods broadcast, multicast and what it does not
/// know. Frames for a full port are dropped, as real ones do.
class Switch {
 public:
  static constexpr std::size_t kMostAddresses = 1024;

  void attach(std::unique_ptr<device::Device> device);
  Instant next_deadline();
  void turn(Instant now);
  std::uint64_t flooded() const noexcept { return flooded_; }
  std::uint64_t dropped() const noexcept { return dropped_; }

 private:
  struct Learned {
    MacAddress mac;
    std::size_t port = 0;
  };

  void forward(std::size_t from, Bytes frame);
  void send(std::size_t port, Bytes frame);
  void learn(const MacAddress& mac, std::size_t port);

  std::vector<std::unique_ptr<device::Device>> ports_;
  std::vector<Learned> table_;  ///< sorted by address
  std::uint64_t flooded_ = 0;
  std::uint64_t dropped_ = 0;
  bool more_ = false;
  Instant now_;
};

}  // namespace tidewire::sim
