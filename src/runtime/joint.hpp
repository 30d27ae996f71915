// Joins a device to the end of a link: what arrives at one is sent through the other.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "device/device.hpp"
#include "device/wrap/rx_split.hpp"
#include "runtime/driver.hpp"

namespace tidewire::runtime {

/// Puts the kernel, or whoever is behind a device, in the place that a stack has on a described
/// link. IPv4 packets only: the link has no link layer, and a device that has one gets its headers
/// here. In the driver's thread.
class Joint final : public Task, public IoHandler {
 public:
  /// `outside` has a descriptor. `theirs` is the address that frames to an Ethernet device are
  /// for. All of these outlive it.
  Joint(Driver& driver, device::Device& outside, device::Device& link, const MacAddress& theirs);
  ~Joint();
  Joint(const Joint&) = delete;
  Joint& operator=(const Joint&) = delete;

  /// Packets that were neither IPv4 nor whole.
  std::uint64_t ignored() const noexcept { return ignored_; }

  Instant next_deadline() override;
  void run(Instant now) override { carry(now); }
  void before_transmit(Instant now) override { carry(now); }
  void after_turn(Instant now) override { carry(now); }
  void on_io(int fd, std::uint32_t ready, Instant now) override;

 private:
  void carry(Instant now);
  void carry_in(Instant now);
  void carry_out(Instant now);
  void take_in(const RxFrame& frame);
  PushResult give_out(const RxFrame& frame);
  void wait_for_room(bool wait);

  Driver& driver_;
  device::Device& outside_;
  device::Device& link_;
  device::RxSplitter splitter_;
  std::vector<std::byte> headers_;  ///< begins with the link header if there is one
  std::span<const RxFrame> due_;    ///< have left the link and found no room yet
  WatchId watch_;
  bool ethernet_;
  bool readable_ = true;  ///< nobody knows at first
  bool waits_for_room_ = false;
  std::uint64_t ignored_ = 0;
};

}  // namespace tidewire::runtime
