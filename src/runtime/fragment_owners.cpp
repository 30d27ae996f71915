#include "runtime/fragment_owners.hpp"

#include <utility>

namespace tidewire::runtime {

std::vector<FragmentOwners::Held> FragmentOwners::learn(std::uint64_t packet, std::uint32_t owner,
                                                        Instant now) {
  Packet& found = entry(packet, now);
  found.owner = owner;
  std::vector<Held> waited = std::exchange(found.held, {});
  for (const Held& held : waited) held_bytes_ -= held.bytes.size();
  return waited;
}

std::optional<std::uint32_t> FragmentOwners::owner(std::uint64_t packet, Instant now) {
  forget_old(now);
  const auto it = packets_.find(packet);
  return it == packets_.end() ? std::nullopt : it->second.owner;
}

void FragmentOwners::hold(std::uint64_t packet, const RxFrame& frame, Instant now) {
  if (frame.size() > kHeldBytes) {
    ++lost_;
    return;
  }
  while (held_bytes_ + frame.size() > kHeldBytes) forget_oldest();
  Held held;
  held.bytes.reserve(frame.size());
  for (const Bytes part : {frame.head, frame.more[0], frame.more[1], frame.more[2]}) {
    held.bytes.insert(held.bytes.end(), part.begin(), part.end());
  }
  held.frame = frame;
  held.frame.head = held.bytes;
  held.frame.more = {};
  held_bytes_ += held.bytes.size();
  entry(packet, now).held.push_back(std::move(held));
}

FragmentOwners::Packet& FragmentOwners::entry(std::uint64_t packet, Instant now) {
  forget_old(now);
  if (!packets_.contains(packet)) {
    if (packets_.size() >= kPackets) forget_oldest();
    by_age_.push_back(packet);
    packets_[packet].since = now;
  }
  return packets_[packet];
}

void FragmentOwners::forget_old(Instant now) {
  while (!by_age_.empty() && packets_[by_age_.front()].since + kLifetime <= now) forget_oldest();
}

void FragmentOwners::forget_oldest() {
  const auto it = packets_.find(by_age_.front());
  by_age_.pop_front();
  lost_ += it->second.held.size();
  for (const Held& held : it->second.held) held_bytes_ -= held.bytes.size();
  packets_.erase(it);
}

}  // namespace tidewire::runtime
