// Two stacks in one process, joined in memory: what the figures without any I/O
// are measured on.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/memory.hpp"
#include "core/stack.hpp"
#include "device/wrap/materialise.hpp"
#include "report.hpp"

namespace tidewire::bench {

/// One direction of the link: holds frames until the other side takes them.
/// `offload` carries super-segments whole; otherwise every wire packet is cut
/// and its checksum completed.
class Wire final : public TxSink {
 public:
  Wire(bool offload, std::size_t packets)
      : offload_(offload),
        size_(offload ? 65'536 + 256 : 1600),
        memory_(packets * size_),
        frames_(packets) {}

  PushResult push(const TxFrame& frame) noexcept override {
    if (offload_ || frame.seg_size == 0) {
      if (used_ == frames_.size()) return refuse();
      RxFrame& to = frames_[used_];
      to.head = room(used_).first(offload_ ? device::gather(frame, room(used_))
                                           : device::materialise(frame, 0, room(used_)));
      ++used_;
      to.seg_size = static_cast<std::uint16_t>(frame.seg_size);
      to.segs = frame.segs;
      to.checksum =
          offload_ && frame.checksum_pending ? ChecksumState::partial : ChecksumState::unknown;
      packets_ += frame.segs;
      return PushResult::taken;
    }
    const device::Cutter cutter{frame};
    const std::uint32_t packets = cutter.packets();
    if (used_ + packets > frames_.size()) return refuse();
    for (std::uint32_t i = 0; i < packets; ++i) {
      RxFrame& to = frames_[used_];
      to = {};
      to.head = room(used_).first(cutter.write(i, room(used_)));
      ++used_;
    }
    packets_ += packets;
    return PushResult::taken;
  }

  /// Gives all frames to `stack`. True if a push was refused since the last
  /// time.
  bool deliver(Stack& stack, InterfaceId interface, Instant now) noexcept {
    const auto frames = std::span{frames_}.first(used_);
    for (RxFrame& frame : frames) frame.ingress = now;
    if (!frames.empty()) stack.on_frames(interface, frames, now);
    used_ = 0;
    return std::exchange(refused_, false);
  }
  bool empty() const noexcept { return used_ == 0; }
  std::uint64_t packets() const noexcept { return packets_; }

 private:
  MutBytes room(std::size_t packet) noexcept {
    return MutBytes{memory_}.subspan(packet * size_, size_);
  }
  PushResult refuse() noexcept {
    refused_ = true;
    return PushResult::full;
  }

  bool offload_;
  std::size_t size_;  ///< bytes for a packet
  std::vector<std::byte> memory_;
  std::vector<RxFrame> frames_;  ///< `used_` of them are under way
  std::size_t used_ = 0;
  bool refused_ = false;
  std::uint64_t packets_ = 0;
};

/// Client 10.0.0.1, server 10.0.0.2, on virtual time that a turn moves by 10
/// microseconds.
class Pair {
 public:
  explicit Pair(bool offload, const StackConfig& config = {})
      : client(config, client_memory, {1, 2}, Instant::from_nanos(0)),
        server(config, server_memory, {3, 4}, Instant::from_nanos(0)),
        up(offload, 1024),
        down(offload, 1024) {
    client_interface_ = add(client, IpAddress::v4(10, 0, 0, 1), offload);
    server_interface_ = add(server, IpAddress::v4(10, 0, 0, 2), offload);
  }

  /// Both stacks send what they have and receive what the other sent.
  void turn() {
    now += Duration::micros(10);
    pump(client, up);
    if (up.deliver(server, server_interface_, now)) client.on_writable(client_interface_, now);
    pump(server, down);
    if (down.deliver(client, client_interface_, now)) server.on_writable(server_interface_, now);
  }
  /// Turns until nothing is under way; then time jumps to the next deadline if
  /// `jump`.
  void settle(bool jump = false) {
    for (int quiet = 0; quiet < 2;) {
      const std::uint64_t before = up.packets() + down.packets();
      turn();
      quiet = up.packets() + down.packets() == before ? quiet + 1 : 0;
    }
    if (!jump) return;
    const Instant next = earlier(client.next_deadline(), server.next_deadline());
    if (!next.is_never()) now = later(now, next);
  }

  SocketId listen(std::uint16_t port) {
    const auto listener = server.open(SocketKind::tcp, Family::v4);
    must(listener && server.bind(*listener, {{}, port}, now), "bind");
    must(static_cast<bool>(server.listen(*listener, 1024, now)), "listen");
    return *listener;
  }
  /// An established connection: the client's socket and the server's.
  std::array<SocketId, 2> connect(SocketId listener, std::uint16_t port) {
    const auto socket = client.open(SocketKind::tcp, Family::v4);
    must(static_cast<bool>(socket), "open");
    (void)client.connect(*socket, Endpoint{IpAddress::v4(10, 0, 0, 2), port}, now);
    auto accepted = server.accept(listener, now);
    for (int i = 0; i < 100 && !accepted; ++i) {
      turn();
      accepted = server.accept(listener, now);
    }
    must(static_cast<bool>(accepted), "accept");
    return {*socket, *accepted};
  }

  HeapMemory client_memory{1U << 30}, server_memory{1U << 30};
  Instant now = Instant::from_nanos(0);
  Stack client, server;
  Wire up, down;

 private:
  InterfaceId add(Stack& stack, IpAddress address, bool trusted) {
    const auto id = stack.add_interface(
        {.name = "mem0", .medium = Medium::ip, .mac = {}, .mtu = 1500, .trusted = trusted}, now);
    must(id && stack.add_address(*id, {address, 24}, now), "add_address");
    return *id;
  }
  void pump(Stack& stack, Wire& wire) {
    if (stack.next_deadline() <= now) stack.on_timeout(now);
    while (stack.poll_transmit(wire, now) == Transmit::budget_spent) {
    }
    while (stack.poll_event()) {
    }
  }

  InterfaceId client_interface_ = kNoInterface, server_interface_ = kNoInterface;
};

}  // namespace tidewire::bench
