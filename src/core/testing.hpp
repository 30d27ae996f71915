// Help for tests of the core: frames as plain bytes, a sink that keeps them, one host, two hosts.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "base/memory.hpp"
#include "core/stack.hpp"
#include "wire/checksum.hpp"

namespace tidewire::testing {

using Frame = std::vector<std::byte>;

/// The frame as it would stand on the wire. Does not segment.
inline Frame flatten(const TxFrame& frame) {
  Frame out{frame.headers.begin(), frame.headers.end()};
  for (const Bytes part : frame.payload) out.insert(out.end(), part.begin(), part.end());
  if (frame.checksum_pending) {
    const std::size_t at = std::size_t{frame.transport_offset} + frame.checksum_offset;
    wire::Checksum sum;
    sum.add(Bytes{out}.subspan(frame.transport_offset));
    const bool udp = frame.checksum_offset == 6;
    wire::store_u16(out.data() + at, udp ? sum.finish_udp() : sum.finish());
  }
  return out;
}

/// Keeps what is pushed; can be told to be full.
class Capture final : public TxSink {
 public:
  PushResult push(const TxFrame& frame) noexcept override {
    if (room == 0) return PushResult::full;
    --room;
    interfaces.push_back(frame.interface);
    seg_sizes.push_back(frame.seg_size);
    frames.push_back(flatten(frame));
    return PushResult::taken;
  }
  void clear() {
    interfaces.clear();
    seg_sizes.clear();
    frames.clear();
  }
  std::size_t room = SIZE_MAX;
  std::vector<InterfaceId> interfaces;
  std::vector<std::uint32_t> seg_sizes;
  std::vector<Frame> frames;
};

inline IpAddress ip(std::string_view text) { return parse_ip(text).value(); }
inline IpCidr cidr(std::string_view text) { return parse_cidr(text).value(); }
inline Endpoint at(std::string_view text) { return parse_endpoint(text).value(); }
inline Bytes bytes_of(std::string_view text) { return as_bytes(text.data(), text.size()); }
inline std::string text_of(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// A stack with its memory and a clock the test moves.
struct Host {
  explicit Host(std::uint64_t seed = 1, const StackConfig& config = {})
      : memory(64U << 20), stack(config, memory, RandomSeed{seed, seed}, Instant::from_nanos(0)) {}

  InterfaceId ethernet(std::string_view address, std::uint8_t last_octet,
                       std::uint32_t mtu = 1500) {
    InterfaceConfig config;
    config.name = "eth";
    config.mac = MacAddress{{2, 0, 0, 0, 0, last_octet}};
    config.mtu = mtu;
    const InterfaceId id = stack.add_interface(config, now).value();
    (void)stack.add_address(id, cidr(address), now).value();
    return id;
  }
  InterfaceId tun(std::string_view address, std::uint32_t mtu = 1500) {
    InterfaceConfig config;
    config.name = "tun";
    config.medium = Medium::ip;
    config.mtu = mtu;
    const InterfaceId id = stack.add_interface(config, now).value();
    (void)stack.add_address(id, cidr(address), now).value();
    return id;
  }
  InterfaceId loopback() {
    InterfaceConfig config;
    config.name = "lo";
    config.medium = Medium::ip;
    config.mtu = 65'535;
    config.loopback = true;
    return stack.add_interface(config, now).value();
  }
  void gateway(InterfaceId interface, std::string_view address) {
    (void)stack.add_route({cidr("0.0.0.0/0"), ip(address), interface, 0}).value();
  }

  void receive(InterfaceId interface, Bytes frame) {
    RxFrame rx;
    rx.head = frame;
    rx.ingress = now;
    stack.on_frames(interface, {&rx, 1}, now);
  }
  /// Polls until nothing more comes; what came is in `out`.
  Transmit poll() { return stack.poll_transmit(out, now, {1000, 64U << 20}); }
  /// Polls, and returns and forgets what came.
  std::vector<Frame> sent() {
    (void)poll();
    std::vector<Frame> frames = std::move(out.frames);
    out.clear();
    return frames;
  }
  /// Time passes, with every timer at its time.
  void advance(Duration by) {
    const Instant end = now + by;
    while (stack.next_deadline() <= end) {
      now = later(now, stack.next_deadline());
      stack.on_timeout(now);
    }
    now = end;
  }
  /// Delivers what leaves through `loopback` back to this host, until nothing moves.
  void run_loopback(InterfaceId interface) {
    for (int round = 0; round < 1000; ++round) {
      const std::vector<Frame> frames = sent();
      if (frames.empty()) return;
      for (const Frame& frame : frames) receive(interface, frame);
    }
  }

  SocketId udp(std::string_view local) {
    const Endpoint endpoint = at(local);
    const SocketId socket = stack.open(SocketKind::udp, endpoint.address.family()).value();
    (void)stack.bind(socket, endpoint, now).value();
    return socket;
  }
  SocketResult<void> send(SocketId socket, std::string_view text,
                          const DatagramTarget& target = {}) {
    const Bytes data = bytes_of(text);
    return stack.send_datagram(socket, {&data, 1}, target, now);
  }
  SocketResult<void> send_to(SocketId socket, std::string_view text, std::string_view to) {
    DatagramTarget target;
    target.destination = at(to);
    return send(socket, text, target);
  }
  /// The next datagram as text; "(none)" or the error's text if there is none.
  std::string receive_text(SocketId socket, DatagramInfo* info_out = nullptr) {
    std::vector<std::byte> buffer(70'000);
    const auto info = stack.receive_datagram(socket, buffer, false, now);
    if (!info) {
      return info.error() == SocketError::would_block ? "(none)"
                                                      : std::string{to_string(info.error())};
    }
    if (info_out != nullptr) *info_out = *info;
    return text_of(Bytes{buffer}.first(info->copied));
  }
  std::uint64_t dropped(DropReason reason) const { return stack.counters().dropped(reason); }

  HeapMemory memory;
  Instant now = Instant::from_nanos(0);
  Stack stack;
  Capture out;
};

/// Two hosts on one Ethernet without delay.
struct Pair {
  Pair() : a(1), b(2) {
    ia = a.ethernet("10.0.0.1/24", 1);
    ib = b.ethernet("10.0.0.2/24", 2);
  }
  /// Exchanges frames until both are silent.
  void run() {
    for (int round = 0; round < 10'000; ++round) {
      const std::vector<Frame> from_a = a.sent();
      const std::vector<Frame> from_b = b.sent();
      if (from_a.empty() && from_b.empty()) return;
      for (const Frame& frame : from_a) b.receive(ib, frame);
      for (const Frame& frame : from_b) a.receive(ia, frame);
    }
  }
  void advance(Duration by) {
    a.advance(by);
    b.advance(by);
  }
  Host a, b;
  InterfaceId ia, ib;
};

}  // namespace tidewire::testing
