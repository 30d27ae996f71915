#include "sim/switch.hpp"

#include <algorithm>
#include <utility>

namespace tidewire::sim {
namespace {

constexpr std::size_t kBatch = 64;

MacAddress mac_at(Bytes frame, std::size_t offset) {
  MacAddress mac;
  for (std::size_t i = 0; i < 6; ++i) {
    mac.octets[i] = std::to_integer<std::uint8_t>(frame[offset + i]);
  }
  return mac;
}

}  // namespace

void Switch::attach(std::unique_ptr<device::Device> device) { ports_.push_back(std::move(device)); }

Instant Switch::next_deadline() {
  if (more_) return now_;
  Instant next = Instant::never();
  for (const auto& port : ports_) next = earlier(next, port->next_deadline());
  return next;
}

void Switch::turn(Instant now) {
  now_ = later(now_, now);
  more_ = false;
  for (const auto& port : ports_) port->advance(now_);
  for (std::size_t i = 0; i < ports_.size(); ++i) {
    const auto frames = ports_[i]->receive(now_, kBatch);
    more_ |= frames.size() == kBatch;
    for (const RxFrame& frame : frames) forward(i, frame.head);
  }
}

void Switch::forward(std::size_t from, Bytes frame) {
  if (frame.size() < 14) return;
  learn(mac_at(frame, 6), from);
  const MacAddress to = mac_at(frame, 0);
  const auto it = std::ranges::lower_bound(table_, to, {}, &Learned::mac);
  if (!to.is_multicast() && it != table_.end() && it->mac == to) {
    if (it->port != from) send(it->port, frame);
    return;
  }
  ++flooded_;
  for (std::size_t port = 0; port < ports_.size(); ++port) {
    if (port != from) send(port, frame);
  }
}

void Switch::send(std::size_t port, Bytes frame) {
  TxFrame out;
  out.headers = frame;
  if (ports_[port]->push(out) == PushResult::full) ++dropped_;
}

void Switch::learn(const MacAddress& mac, std::size_t port) {
  if (mac.is_multicast()) return;
  const auto it = std::ranges::lower_bound(table_, mac, {}, &Learned::mac);
  if (it != table_.end() && it->mac == mac) {
    it->port = port;
  } else if (table_.size() < kMostAddresses) {
    table_.insert(it, {mac, port});
  }
}

}  // namespace tidewire::sim
