#include "apps/perf_datagrams.hpp"

namespace tidewire::apps {

void DatagramEcho::on_event(Instant now) {
  if (!pending_.empty() && !reply(now)) return;
  for (;;) {
    const auto got = stack_.receive_datagram(socket_, room_, false, now);
    if (!got) return;
    pending_ = Bytes(room_).first(got->copied);
    to_ = got->source;
    if (!reply(now)) return;
  }
}

/// False if it has to be tried again when there is room.
bool DatagramEcho::reply(Instant now) {
  DatagramTarget target;
  target.destination = to_;
  const auto sent = stack_.send_datagram(socket_, std::span(&pending_, 1), target, now);
  if (!sent && sent.error() == SocketError::would_block) return false;
  pending_ = {};
  return true;
}

void DatagramSizes::send(Instant now) {
  if (finished()) {
    deadline_ = Instant::never();
    return;
  }
  const MutBytes data = MutBytes(room_).first(size_);
  pattern_.fill(size_, data);
  const Bytes whole = data;
  if (!stack_.send_datagram(socket_, std::span(&whole, 1), {}, now)) ++lost_;
  deadline_ = now + Duration::seconds(2);
}

void DatagramSizes::on_event(Instant now) {
  std::vector<std::byte>& room = room_;
  while (!finished()) {
    const auto got = stack_.receive_datagram(socket_, room, false, now);
    if (!got) return;
    if (got->size != size_) continue;  // late, of an earlier one
    const Bytes data = Bytes(room).first(got->copied);
    ++(pattern_.matching(size_, data) == size_ ? intact_ : damaged_);
    ++size_;
    send(now);
  }
}

void DatagramSizes::on_timeout(Instant now) {
  ++lost_;
  ++size_;
  send(now);
}

}  // namespace tidewire::apps
