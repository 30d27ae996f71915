// The base of devices that stand in front of another one.
#pragma once

#include <memory>
#include <utility>

#include "device/device.hpp"

namespace tidewire::device {

/// Owns the device behind it and forwards everything; what a wrapper changes it overrides.
class Wrapper : public Device {
 public:
  explicit Wrapper(std::unique_ptr<Device> inner) noexcept : inner_(std::move(inner)) {}

  Capabilities capabilities() const noexcept override { return inner_->capabilities(); }
  void advance(Instant now) noexcept override { inner_->advance(now); }
  std::string_view name() const noexcept override { return inner_->name(); }
  PushResult push(const TxFrame& frame) noexcept override { return inner_->push(frame); }
  std::span<const RxFrame> receive(Instant now, std::size_t limit) noexcept override {
    return inner_->receive(now, limit);
  }
  bool receive_again() const noexcept override { return inner_->receive_again(); }
  void flush() noexcept override { inner_->flush(); }
  bool writable() noexcept override { return inner_->writable(); }
  Instant next_deadline() noexcept override { return inner_->next_deadline(); }
  int descriptor() const noexcept override { return inner_->descriptor(); }
  bool link_up() const noexcept override { return inner_->link_up(); }

 protected:
  Device& inner() noexcept { return *inner_; }
  const Device& inner() const noexcept { return *inner_; }

 private:
  std::unique_ptr<Device> inner_;
};

}  // namespace tidewire::device
