#include "sim/bulk.hpp"

#include <algorithm>

namespace tidewire::sim {

void BulkSource::connect(const Endpoint& remote) {
  Stack& stack = host_.stack();
  const SocketResult<SocketId> id = stack.open(SocketKind::tcp, remote.address.family());
  if (!id) {
    error_ = id.error();
    return;
  }
  socket_ = *id;
  host_.watch(socket_, *this);
  const SocketResult<void> started = stack.connect(socket_, remote, host_.now());
  if (!started && started.error() != SocketError::in_progress) error_ = started.error();
}

void BulkSource::on_event(const Event& event, Instant now) {
  if ((event.bits & kError) != 0) error_ = host_.stack().take_error(socket_);
  constexpr std::size_t kPiece = 65536;
  while (!stopped_ && error_ == SocketError::none) {
    const MutBytes room = host_.stack().send_space(socket_, kPiece);
    if (room.empty()) break;
    std::fill(room.begin(), room.end(), std::byte{0x5a});
    if (!host_.stack().sent(socket_, room.size(), {}, now)) break;
  }
}

BulkSink::BulkSink(Host& host, std::uint16_t port) : host_(host) {
  Stack& stack = host.stack();
  const SocketResult<SocketId> id = stack.open(SocketKind::tcp, Family::v4);
  if (!id) return;
  listener_ = *id;
  host.watch(listener_, *this);
  (void)stack.bind(listener_, Endpoint{IpAddress::any(Family::v4), port}, host.now());
  (void)stack.listen(listener_, 1, host.now());
}

void BulkSink::on_event(const Event& event, Instant now) {
  Stack& stack = host_.stack();
  if (event.socket == listener_) {
    const SocketResult<SocketId> id = stack.accept(listener_, now);
    if (!id) return;
    socket_ = *id;
    host_.watch(socket_, *this);
  }
  while (socket_) {
    const std::size_t n = stack.received(socket_).first.size();
    if (n == 0 || !stack.consumed(socket_, n, now)) return;
    received_ += n;
  }
}

}  // namespace tidewire::sim
