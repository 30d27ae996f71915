// Who owns a frame: every packet of a flow has one owner, and hostile frames have one too.
#include "wire/steering.hpp"

#include <gtest/gtest.h>

#include <array>
#include <set>

#include "wire/arp.hpp"
#include "wire/icmpv4.hpp"
#include "wire/icmpv6.hpp"
#include "wire/ipv6.hpp"
#include "wire/testing.hpp"

namespace tidewire::wire {
namespace {

using namespace testing;
using To = Steering::To;

const ShardMap kMap{.count = 5, .key = {11, 12}};
const Endpoint kLocal{kHost, 80, 0}, kRemote{kPeer, 4321, 0};

Buffer ports(std::uint16_t source, std::uint16_t destination, std::size_t size = 20) {
  Buffer bytes(size);
  store_u16(bytes.data(), source);
  store_u16(bytes.data() + 2, destination);
  return bytes;
}

/// An IPv4 packet of `repr`, whose payload length is filled in.
Buffer packet(Ipv4Repr repr, Bytes payload) {
  repr.payload_len = static_cast<std::uint16_t>(payload.size());
  return joined({emitted(repr, header_len(repr)), payload});
}

Buffer segment(const Endpoint& from, const Endpoint& to, std::uint8_t protocol = protocol::tcp) {
  return packet({.source = from.address, .destination = to.address, .protocol = protocol},
                ports(from.port, to.port));
}

Buffer framed(Bytes packet, EtherType type, MacAddress to = {{2, 0, 0, 0, 0, 1}}) {
  return joined({emitted(EthernetRepr{to, {{2, 0, 0, 0, 0, 2}}, type}, 14), packet});
}

std::uint32_t owner_of(Bytes packet) {
  const Steering answer = steer(kMap, Medium::ip, packet);
  EXPECT_EQ(answer.to, To::owner);
  return answer.owner;
}

TEST(Steering, AFlowHasOneOwnerInEitherMedium) {
  const std::uint32_t owner = kMap.owner(protocol::tcp, kLocal, kRemote);
  const Buffer bytes = segment(kRemote, kLocal);
  EXPECT_EQ(owner_of(bytes), owner);
  EXPECT_EQ(steer(kMap, Medium::ethernet, framed(bytes, EtherType::ipv4)).owner, owner);
}

TEST(Steering, FlowsAreSpreadEvenlyAndByTheKey) {
  std::array<int, 5> flows{};
  int moved = 0;
  const ShardMap other{.count = 5, .key = {13, 12}};
  for (std::uint16_t port = 1; port <= 20'000; ++port) {
    const Endpoint remote{kPeer, port, 0};
    const std::uint32_t owner = kMap.owner(protocol::tcp, kLocal, remote);
    ++flows.at(owner);
    moved += owner != other.owner(protocol::tcp, kLocal, remote) ? 1 : 0;
  }
  for (const int n : flows) EXPECT_NEAR(n, 4000, 300);
  EXPECT_NEAR(moved, 16'000, 500) << "who does not know the key cannot aim";
}

TEST(Steering, OneShardOwnsEverything) {
  const ShardMap one;
  EXPECT_EQ(one.owner(protocol::tcp, kLocal, kRemote), 0U);
  EXPECT_EQ(one.port_owner(protocol::udp, 40'000), 0U);
}

TEST(Steering, AnEphemeralDatagramPortBelongsToOneShardWhoeverWrites) {
  std::set<std::uint32_t> ephemeral, chosen;
  for (std::uint16_t from = 1; from < 100; ++from) {
    const Endpoint remote{kPeer, from, 0};
    ephemeral.insert(owner_of(segment(remote, {kHost, 40'000, 0}, protocol::udp)));
    chosen.insert(owner_of(segment(remote, {kHost, 53, 0}, protocol::udp)));
  }
  EXPECT_EQ(ephemeral, std::set{kMap.port_owner(protocol::udp, 40'000)});
  EXPECT_EQ(chosen.size(), 5U);
}

// req: RFC1122-3.2.2-4
TEST(Steering, AnIcmpErrorGoesToWhoseFlowItQuotes) {
  for (const std::uint8_t protocol : {protocol::tcp, protocol::udp}) {
    const Buffer sent = segment(kLocal, kRemote, protocol);
    const Icmpv4Repr error =
        Icmpv4Repr::unreachable(icmpv4_unreachable::fragmentation_needed, Bytes{sent}, 1400);
    const Buffer message = emitted(error, 8 + sent.size());
    const Ipv4Repr router{
        .source = IpAddress::v4(192, 0, 2, 1), .destination = kHost, .protocol = protocol::icmp};
    EXPECT_EQ(owner_of(packet(router, message)), kMap.owner(protocol, kLocal, kRemote));
  }
}

TEST(Steering, EchoRepliesGoToWhoAskedAndRequestsToAnyOne) {
  const auto echo = [](Icmpv4Type type, std::uint16_t id) {
    const Icmpv4Repr repr = Icmpv4Repr::echo(type, id, 1, {});
    return packet({.source = kPeer, .destination = kHost, .protocol = protocol::icmp},
                  emitted(repr, 8));
  };
  std::set<std::uint32_t> answering;
  for (std::uint16_t id = 1; id < 100; ++id) {
    EXPECT_EQ(owner_of(echo(Icmpv4Type::echo_reply, id)), kMap.port_owner(protocol::icmp, id));
    answering.insert(owner_of(echo(Icmpv4Type::echo_request, id)));
  }
  EXPECT_EQ(answering.size(), 5U);
}

TEST(Steering, FragmentsOfAPacketMeetAndTheFirstNamesTheOwner) {
  Ipv4Repr repr{.source = kPeer, .destination = kHost, .protocol = protocol::udp, .id = 77};
  repr.more_fragments = true;
  const Steering first = steer(kMap, Medium::ip, packet(repr, ports(4321, 80, 64)));
  repr.fragment_offset = 64;
  repr.more_fragments = false;
  const Steering last = steer(kMap, Medium::ip, packet(repr, Buffer(10)));
  EXPECT_EQ(first.to, To::collector);
  EXPECT_TRUE(first.first_fragment);
  EXPECT_EQ(first.owner, kMap.owner(protocol::udp, kLocal, kRemote));
  EXPECT_EQ(last.to, To::collector);
  EXPECT_FALSE(last.first_fragment);
  EXPECT_EQ(first.packet, last.packet);
  EXPECT_EQ(first.collector, last.collector);
  repr.id = 78;
  EXPECT_NE(steer(kMap, Medium::ip, packet(repr, Buffer(10))).packet, last.packet);
}

TEST(Steering, Ipv6HasOwnersFragmentsAndNews) {
  const auto v6 = [](std::uint8_t next, Bytes payload) {
    Ipv6Repr repr{.source = IpAddress::v6({0xfd, 2}), .destination = IpAddress::v6({0xfd, 1})};
    repr.next_header = next;
    repr.payload_len = static_cast<std::uint16_t>(payload.size());
    return joined({emitted(repr, 40), payload});
  };
  const Endpoint local{IpAddress::v6({0xfd, 1}), 80, 0}, remote{IpAddress::v6({0xfd, 2}), 4321, 0};
  const std::uint32_t owner = kMap.owner(protocol::tcp, local, remote);
  EXPECT_EQ(owner_of(v6(protocol::tcp, ports(4321, 80))), owner);
  const Buffer first = joined({hex("06 00 00 01 00 00 00 09"), ports(4321, 80, 24)});
  const Buffer last = joined({hex("06 00 00 18 00 00 00 09"), Buffer(8)});
  const Steering one = steer(kMap, Medium::ip, v6(protocol::ipv6_fragment, first));
  const Steering two = steer(kMap, Medium::ip, v6(protocol::ipv6_fragment, last));
  EXPECT_EQ(one.to, To::collector);
  EXPECT_EQ(one.owner, owner);
  EXPECT_EQ(one.packet, two.packet);
  EXPECT_NE(one.first_fragment, two.first_fragment);
  Buffer news(24);
  news[0] = std::byte{136};
  EXPECT_EQ(steer(kMap, Medium::ip, v6(protocol::icmpv6, news)).to, To::everybody);
  news[0] = std::byte{135};
  EXPECT_EQ(steer(kMap, Medium::ip, v6(protocol::icmpv6, news)).to, To::here);
}

TEST(Steering, NewsAreForEverybody) {
  const ArpRepr arp{.operation = ArpOperation::request, .sender_ip = kPeer, .target_ip = kHost};
  const Buffer request = framed(emitted(arp, kArpLen), EtherType::arp);
  EXPECT_EQ(std::to_integer<int>(request[kArpOperationByte]), 1);
  const Steering asked = steer(kMap, Medium::ethernet, request);
  EXPECT_EQ(asked.to, To::everybody);
  EXPECT_TRUE(asked.arp_request);
  const Buffer broadcast = segment(kRemote, {IpAddress::v4(10, 0, 2, 255), 68, 0}, protocol::udp);
  EXPECT_EQ(steer(kMap, Medium::ethernet,
                  framed(broadcast, EtherType::ipv4, {{255, 255, 255, 255, 255, 255}}))
                .to,
            To::everybody);
  const Buffer group = segment(kRemote, {IpAddress::v4(224, 0, 0, 251), 5353, 0}, protocol::udp);
  EXPECT_EQ(steer(kMap, Medium::ip, group).to, To::everybody);
}

TEST(Steering, WhatIsCutShortStaysWhereItIs) {
  const Buffer whole = framed(segment(kRemote, kLocal), EtherType::ipv4);
  for (std::size_t size = 0; size < 14 + 20 + 4; ++size) {
    EXPECT_EQ(steer(kMap, Medium::ethernet, Bytes{whole}.first(size)).to, To::here) << size;
  }
}

TEST(Steering, KnowingTheLastFlowChangesNoAnswer) {
  Steerer steerer{kMap, Medium::ethernet};
  Rng rng{{5, 6}};
  const auto address = [&] {
    return IpAddress::v4(10, 0, 2, static_cast<std::uint8_t>(rng.below(3)));
  };
  Buffer frame;
  for (int i = 0; i < 20'000; ++i) {
    if (frame.empty() || rng.below(3) == 0) {
      const Endpoint from{address(), static_cast<std::uint16_t>(rng.below(3)), 0};
      const Endpoint to{address(), static_cast<std::uint16_t>(rng.below(3)), 0};
      frame = framed(segment(from, to, random_bool(rng) ? protocol::tcp : protocol::udp),
                     EtherType::ipv4);
    } else if (rng.below(3) == 0) {  // of the same flow, but for a byte
      frame[rng.below(14 + 24)] = static_cast<std::byte>(rng.next());
    }
    Steering expected = steer(kMap, Medium::ethernet, frame);
    const Steering answer = steerer(frame);
    // One that is malformed further on may go with its flow: the owner drops it.
    if (expected.to == To::here && answer.to == To::owner) continue;
    ASSERT_EQ(answer, expected);
  }
}

TEST(Steering, EveryFrameHasAShardThatExists) {
  Rng rng{{7, 8}};
  const std::array<std::uint8_t, 8> types{1, 2, 6, 17, 43, 44, 58, 60};
  for (int i = 0; i < 200'000; ++i) {
    Buffer frame = random_bytes(rng, rng.below(120));
    if (frame.size() > 60) {  // something that looks like a packet, half of the time
      const bool v6 = random_bool(rng);
      store_u16(frame.data() + 12, v6 ? 0x86dd : random_bool(rng) ? 0x0800 : 0x0806);
      if (random_bool(rng)) store_u8(frame.data() + 14, v6 ? 0x60 : 0x45);
      store_u8(frame.data() + (v6 ? 20 : 23), types.at(rng.below(types.size())));
    }
    const ShardMap map{.count = 1 + static_cast<std::uint32_t>(rng.below(64)), .key = {1, 2}};
    for (const Medium medium : {Medium::ethernet, Medium::ip}) {
      const Steering answer = steer(map, medium, frame);
      ASSERT_LT(answer.owner, map.count);
      ASSERT_LT(answer.collector, map.count);
      ASSERT_EQ(answer, steer(map, medium, frame));
    }
  }
}

}  // namespace
}  // namespace tidewire::wire
