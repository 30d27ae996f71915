// A received IP packet on its way from the IP layer to a transport.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.hpp"
#include "base/time.hpp"
#include "core/types.hpp"
#include "wire/address.hpp"
#include "wire/frame.hpp"

namespace tidewire::ip {

class Train;

/// What the destination address of a received packet is to this host.
enum class Cast : std::uint8_t { unicast, broadcast, multicast };

/// Validated, reassembled, for this host (or for a forwarding owner). All spans belong to the
/// device or the reassembly buffer and are valid during the call only.
struct Packet {
  InterfaceId interface = kNoInterface;
  IpAddress source, destination;
  Protocol protocol = Protocol::tcp;
  std::uint8_t tos = 0;
  std::uint8_t ttl = 0;
  Cast cast = Cast::unicast;
  bool to_us = true;          ///< false: not our address, offered because of a ForwardPolicy
  Bytes ip_header;            ///< with options, for ICMP errors about this packet
  Bytes transport;            ///< transport header, contiguous, and what payload follows it there
  std::array<Bytes, 3> more;  ///< further payload, in order; unused spans are empty
  ChecksumState checksum = ChecksumState::unknown;
  std::uint16_t seg_size = 0;  ///< as in RxFrame
  std::uint16_t segs = 1;
  Instant ingress;         ///< clamped to not later than now
  bool stays = false;      ///< its bytes lie where they are until Stack::settle_frames()
  Train* train = nullptr;  ///< what came behind it in the same batch, if anything

  std::size_t transport_size() const noexcept {
    return transport.size() + more[0].size() + more[1].size() + more[2].size();
  }
};

/// An ICMP error about something this host sent, for the transport that sent it.
struct IcmpError {
  enum class Kind : std::uint8_t {
    network_unreachable,
    host_unreachable,
    protocol_unreachable,
    port_unreachable,
    prohibited,
    packet_too_big,
    time_exceeded,
    parameter_problem,
    source_quench,
    other_unreachable,
  };
  Kind kind = Kind::other_unreachable;
  std::uint8_t type = 0, code = 0;
  std::uint32_t next_hop_mtu = 0;  ///< packet_too_big
  IpAddress offender;
  IpAddress source, destination;  ///< of the quoted packet: source is ours
  Protocol protocol = Protocol::tcp;
  Bytes quoted;  ///< what is quoted of its transport header (8 bytes or more)
};

}  // namespace tidewire::ip
