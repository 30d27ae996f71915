// One impaired link that a stack of this process and a kernel behind a TAP device share.
#pragma once

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "device/wrap/wrapper.hpp"
#include "real_time_flow.hpp"

namespace tidewire::bench {

/// A switch of three ports: this process, `plain`, and the impaired device that it owns. What
/// the first two send to the third waits in the same queue.
class SharedLink final : public device::Wrapper {
 public:
  SharedLink(std::unique_ptr<device::Device> impaired, device::Device& plain)
      : Wrapper(std::move(impaired)), plain_(plain), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    for (const int fd : {inner().descriptor(), plain_.descriptor()}) {
      epoll_event wanted{.events = EPOLLIN, .data = {}};
      if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &wanted) != 0) give_up("epoll");
    }
  }
  ~SharedLink() override { close(epoll_); }

  std::span<const RxFrame> receive(Instant now, std::size_t limit) noexcept override {
    inner().advance(now);
    for (const RxFrame& frame : plain_.receive(now, kBatch)) forward(frame, inner());
    ours_.clear();
    for (const RxFrame& frame : inner().receive(now, std::min(limit, kBatch))) {
      MacAddress to;  // an Ethernet frame begins with it
      std::memcpy(to.octets.data(), frame.head.data(), to.octets.size());
      const bool mine = to == inner().capabilities().mac;
      if (mine || to.is_multicast()) ours_.push_back(frame);
      if (!mine) forward(frame, plain_);
    }
    return ours_;
  }
  int descriptor() const noexcept override { return epoll_; }

 private:
  static constexpr std::size_t kBatch = 64;

  device::Device& plain_;
  int epoll_;
  std::vector<RxFrame> ours_;
};

}  // namespace tidewire::bench
