// For tests: a TCP engine with a clock the test moves and an IP layer that only writes down.
#pragma once

#include <cstring>
#include <deque>
#include <optional>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "base/memory.hpp"
#include "core/context.hpp"
#include "core/ports.hpp"
#include "core/tcp/engine.hpp"
#include "wire/checksum.hpp"
#include "wire/tcp.hpp"

namespace tidewire::tcp::testing {

inline IpAddress addr(std::string_view text) { return parse_ip(text).value(); }

/// One TCP segment as it is on the wire.
struct WireSegment {
  IpAddress source, destination;
  std::uint8_t tos = 0, ttl = 0;
  bool dont_fragment = true;
  std::vector<std::byte> bytes;  ///< header and text, checksum final
  std::uint16_t segs = 1;
  std::uint32_t seg_size = 0;
  Instant at;

  wire::TcpView view() const { return wire::TcpView::parse(bytes).value(); }
  Bytes text() const { return Bytes{bytes}.subspan(view().header_len()); }
};

inline void store_checksum(WireSegment& s) {
  wire::store_u16(s.bytes.data() + wire::kTcpChecksumOffset, 0);
  wire::Checksum sum;
  sum.add_pseudo_header(s.source, s.destination, wire::protocol::tcp,
                        static_cast<std::uint32_t>(s.bytes.size()));
  sum.add(s.bytes);
  wire::store_u16(s.bytes.data() + wire::kTcpChecksumOffset, sum.finish());
}

/// The IP layer of a host with one address per family and one interface.
class FakeIp final : public ip::Output {
 public:
  explicit FakeIp(Context& context) : context_(context) {}

  Result<IpAddress, SocketError> source_for(const IpAddress& destination,
                                            InterfaceId) const noexcept override {
    if (unreachable) return fail(SocketError::network_unreachable);
    if (destination.is_loopback()) return destination;
    return destination.is_v4() ? v4 : v6;
  }
  bool is_local(const IpAddress& a) const noexcept override {
    return a == v4 || a == v6 || a.is_loopback();
  }
  bool is_broadcast(const IpAddress& a) const noexcept override {
    return a.is_limited_broadcast() || a == IpAddress::v4(10, 0, 0, 255);
  }
  std::uint32_t path_mtu(const IpAddress&, InterfaceId) const noexcept override {
    return path_limit != 0 ? std::min(path_limit, mtu) : mtu;
  }
  std::uint32_t interface_mtu(const IpAddress&, InterfaceId) const noexcept override { return mtu; }
  void lower_path_mtu(const IpAddress&, std::uint32_t value) noexcept override {
    path_limit = value;
  }
  void advise_failure(const IpAddress&) noexcept override { ++advices; }
  void confirm(const ip::Path&) noexcept override { ++confirms; }
  bool blocked(const ip::Path&) const noexcept override { return is_blocked; }

  ip::SendResult send(ip::HeaderBuffer& headers, const ip::OutPacket& packet, ip::Path& path,
                      InterfaceId) noexcept override {
    path.interface = 0;
    ++attempts;
    if (unresolved) return {ip::Sent::unresolved, SocketError::none, 0};
    if (failure) return {ip::Sent::failed, *failure, 0};
    if (room == 0) {
      is_blocked = true;
      return {ip::Sent::full, SocketError::none, 0};
    }
    std::size_t size = 20 + packet.transport_header_len;
    for (const Bytes part : packet.payload) size += part.size();
    if (packet.seg_size == 0 && packet.dont_fragment && size > path_mtu(packet.destination, 0)) {
      return {ip::Sent::too_big, SocketError::message_too_long, path_mtu(packet.destination, 0)};
    }
    --room;
    const Bytes header = headers.transport().first(packet.transport_header_len);
    std::vector<std::byte> text;
    for (const Bytes part : packet.payload) text.insert(text.end(), part.begin(), part.end());
    if (segment && packet.seg_size != 0 && text.size() > packet.seg_size) {
      cut(header, text, packet);
    } else {
      add(header, text, packet, packet.segs, packet.seg_size);
    }
    return {};
  }
  bool send_plain(ip::HeaderBuffer& headers, const ip::PlainPacket& plain,
                  ip::Path& path) noexcept override {
    const std::size_t size = 20 + plain.header_len + plain.payload_len;
    if (unresolved || failure || room == 0 || size > mtu ||
        (path_limit != 0 && size > path_limit)) {
      return false;
    }
    ip::OutPacket packet;
    packet.source = IpAddress::v4(plain.source);
    packet.destination = IpAddress::v4(plain.destination);
    packet.tos = plain.tos;
    packet.ttl = plain.ttl;
    packet.transport_header_len = plain.header_len;
    packet.payload = plain.payload;
    return send(headers, packet, path, kNoInterface).status == ip::Sent::taken;
  }
  void queue_reply(const IpAddress& source, const IpAddress& destination, Protocol, Bytes header,
                   std::uint8_t) noexcept override {
    ip::OutPacket packet;
    packet.source = source;
    packet.destination = destination;
    add(header, {}, packet, 1, 0);
  }
  void queue_reject(InterfaceId, const IpAddress&, const IpAddress&, Bytes,
                    ForwardReject how) noexcept override {
    rejected = how;
  }

  IpAddress v4 = IpAddress::v4(10, 0, 0, 1);
  IpAddress v6 = parse_ip("fd00::1").value();
  std::uint32_t mtu = 1500, path_limit = 0;
  bool unreachable = false, unresolved = false, is_blocked = false;
  bool segment = true;  ///< cut super-segments as a device would
  std::optional<SocketError> failure;
  std::optional<ForwardReject> rejected;
  std::size_t room = SIZE_MAX;
  int advices = 0, confirms = 0, attempts = 0;
  std::deque<WireSegment> sent;

 private:
  void add(Bytes header, Bytes text, const ip::OutPacket& packet, std::uint16_t segs,
           std::uint32_t seg_size) {
    WireSegment s;
    s.source = packet.source;
    s.destination = packet.destination;
    s.tos = packet.tos;
    s.ttl = packet.ttl;
    s.dont_fragment = packet.dont_fragment;
    s.bytes.assign(header.begin(), header.end());
    s.bytes.insert(s.bytes.end(), text.begin(), text.end());
    s.segs = segs;
    s.seg_size = seg_size;
    s.at = context_.now;
    store_checksum(s);
    sent.push_back(std::move(s));
  }
  void cut(Bytes header, Bytes text, const ip::OutPacket& packet) {
    const std::uint32_t seq = wire::load_u32(header.data() + 4);
    for (std::size_t at = 0; at < text.size(); at += packet.seg_size) {
      const Bytes part = text.subspan(at, std::min<std::size_t>(packet.seg_size, text.size() - at));
      std::vector<std::byte> own{header.begin(), header.end()};
      wire::store_u32(own.data() + 4, seq + static_cast<std::uint32_t>(at));
      if (at + part.size() < text.size()) own[13] &= std::byte{0xf6};  // FIN and PSH on the last
      if (at > 0) own[13] &= std::byte{0x7f};                          // CWR on the first
      add(own, part, packet, 1, 0);
    }
  }
  Context& context_;
};

/// A host: engine, ports, events, memory, clock.
struct Host {
  explicit Host(const StackConfig& config_in = {}, std::uint64_t seed = 1,
                std::size_t memory_cap = 256U << 20)
      : memory(memory_cap),
        config(config_in),
        events(memory),
        context{config,
                memory,
                RandomSeed{seed, seed},
                Rng{RandomSeed{seed, 7}},
                events,
                {},
                nullptr,
                Instant::from_nanos(1'000'000'000)},
        out(context),
        ports(context),
        engine(context, out, ports) {}

  Transmit poll(TxBudget budget = {1'000'000, 1ULL << 40}) { return engine.poll_transmit(budget); }
  void receive(const WireSegment& s, ip::Cast cast = ip::Cast::unicast) {
    ip::Packet packet;
    packet.interface = 0;
    packet.source = s.source;
    packet.destination = s.destination;
    packet.tos = s.tos;
    packet.transport = s.bytes;
    packet.cast = cast;
    packet.to_us = out.is_local(s.destination);
    packet.segs = s.segs;
    packet.seg_size = static_cast<std::uint16_t>(s.seg_size);
    packet.ingress = context.now;
    engine.on_packet(packet, forwarding);
  }
  /// Lets time pass up to `until`, firing timers when they are due and sending what they cause.
  void run_until(Instant until) {
    for (;;) {
      const Instant next = engine.next_deadline();
      if (next > until) break;
      context.now = later(context.now, next);
      engine.on_timeout(1024);
      (void)poll();
    }
    context.now = later(context.now, until);
  }
  SocketId open(Family family = Family::v4) { return engine.open(family).value(); }
  SocketId listen(std::uint16_t port, std::uint32_t backlog = 8, Family family = Family::v4) {
    const SocketId id = open(family);
    EXPECT_TRUE(engine.bind(id, {IpAddress::any(family), port, 0}));
    EXPECT_TRUE(engine.listen(id, backlog));
    return id;
  }
  std::uint64_t dropped(DropReason reason) const { return context.counters.dropped(reason); }

  HeapMemory memory;
  StackConfig config;
  EventQueue events;
  Context context;
  FakeIp out;
  PortRegistry ports;
  Engine engine;
  ForwardPolicy forwarding;
};

inline Bytes bytes_of(std::string_view text) { return as_bytes(text.data(), text.size()); }

}  // namespace tidewire::tcp::testing
