// How a transport hands packets to IP while the stack is being polled for transmission.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "base/result.hpp"
#include "core/ip/options.hpp"
#include "core/socket_error.hpp"
#include "core/types.hpp"
#include "wire/address.hpp"
#include "wire/frame.hpp"

namespace tidewire::ip {

/// The cached way to a destination. A transport keeps one per flow and passes it to every send; it
/// is looked up again when the routes or neighbors have changed (generation).
struct Path {
  std::uint32_t generation = 0;  ///< 0: never resolved
  InterfaceId interface = kNoInterface;
  std::uint16_t identification = 0;  ///< of the next IPv4 packet of this flow
  bool fragmentable = false;         ///< narrower than we believe ICMP: routers may fragment
  std::uint32_t neighbor : 31 = 0;   ///< private to the link layer
  std::uint32_t waited : 1 = 0;      ///< the last packet found the next hop unresolved
  std::uint32_t mtu = 0;             ///< of an IP packet on this path, in bytes
};

/// Room for link, IP and transport headers of one frame. The transport writes its header at
/// `kTransportOffset`; IP and the link put theirs in front of it.
struct HeaderBuffer {
  static constexpr std::size_t kTransportOffset = 80;  ///< 14 Ethernet + 60 IPv4, rounded up
  static constexpr std::size_t kTransportMax = 64;
  std::array<std::byte, kTransportOffset + kTransportMax> bytes;

  MutBytes transport() noexcept { return MutBytes{bytes}.subspan(kTransportOffset, kTransportMax); }
};

/// One transport packet (or TCP/UDP super-segment) to send.
struct OutPacket {
  IpAddress source, destination;
  Protocol protocol = Protocol::tcp;
  std::uint8_t tos = 0;
  std::uint8_t ttl = 0;  ///< 0: the configured default
  bool dont_fragment = true;
  std::size_t transport_header_len = 0;  ///< bytes written to HeaderBuffer::transport()
  std::span<const Bytes> payload;
  bool payload_stays = false;  ///< as in TxFrame
  std::uint32_t seg_size = 0;  ///< as in TxFrame
  std::uint16_t segs = 1;
  /// Of the checksum field in the transport header. IP fills in the pseudo-header sum and marks the
  /// frame checksum_pending (or computes the sum when it must fragment). 0xff: no such checksum.
  std::uint8_t checksum_offset = 0xff;
  Bytes options;                   ///< IPv4, prepared (ip::prepare_options); at most 40 bytes
  const IpAddress* via = nullptr;  ///< first hop of a source route; else the destination
};

/// A TCP segment as nearly all are: IPv4 without options, in one packet that must not be
/// fragmented, with the text of a send ring (TxFrame::payload_stays).
struct PlainPacket {
  std::uint32_t source = 0;       ///< host order
  std::uint32_t destination = 0;  ///< host order
  std::uint8_t tos = 0;
  std::uint8_t ttl = 0;          ///< 0: the configured default
  std::uint32_t header_len = 0;  ///< bytes written to HeaderBuffer::transport()
  std::span<const Bytes> payload;
  std::uint32_t payload_len = 0;  ///< bytes in all regions
};

enum class Sent : std::uint8_t {
  taken,       ///< the sink has it: commit
  full,        ///< the interface is blocked until on_writable; nothing was taken
  unresolved,  ///< the next hop's link address is being asked for; nothing was taken
  failed,      ///< no route, or the next hop does not answer; see `error`
  too_big,     ///< don't-fragment and larger than the path MTU; see `mtu`
};

struct SendResult {
  Sent status = Sent::taken;
  SocketError error = SocketError::none;
  std::uint32_t mtu = 0;
};

/// What a transport may ask of IP. Implemented by the IP layer; calls outside poll_transmit may
/// only use the queries.
class Output {
 public:
  //= RFC 1122 §3.3.2
  /// MMS_R: the largest transport message that can be received. MMS_S is path_mtu() less headers.
  static constexpr std::uint32_t kMaxReceive = 65'535 - 20;

  /// Chooses the source address for a destination (RFC 1122 §3.3.4.3, RFC 6724) through `bound`, or
  /// any interface when that is kNoInterface.
  virtual Result<IpAddress, SocketError> source_for(const IpAddress& destination,
                                                    InterfaceId bound) const noexcept = 0;
  virtual bool is_local(const IpAddress& address) const noexcept = 0;
  /// True for limited, and for directed broadcast of an attached network.
  virtual bool is_broadcast(const IpAddress& address) const noexcept = 0;
  /// Path MTU in bytes of an IP packet: that of the outgoing interface, less if ICMP said so.
  virtual std::uint32_t path_mtu(const IpAddress& destination,
                                 InterfaceId bound) const noexcept = 0;
  /// MTU of the interface towards `destination`, whatever the path carries: what the MSS option is
  /// based on (RFC 1191 §3.1).
  virtual std::uint32_t interface_mtu(const IpAddress& destination,
                                      InterfaceId bound) const noexcept = 0;
  /// Records a smaller path MTU (RFC 1191 §6.3); the transport has verified the quoted packet.
  virtual void lower_path_mtu(const IpAddress& destination, std::uint32_t mtu) noexcept = 0;
  /// RFC 1122 §3.3.1.4 / RFC 9293 §3.8.3: R1 was reached, the route or neighbor may be dead.
  virtual void advise_failure(const IpAddress& destination) noexcept = 0;
  /// Forward progress was made through this path (neighbor reachability confirmation).
  virtual void confirm(const Path& path) noexcept = 0;

  /// True if `interface` has said full. A flow whose interface is blocked leaves the ready list.
  virtual bool blocked(const Path& path) const noexcept = 0;
  /// Only during poll_transmit. Completes headers and pushes into the current sink.
  virtual SendResult send(HeaderBuffer& headers, const OutPacket& packet, Path& path,
                          InterfaceId bound) noexcept = 0;
  /// The same for a plain packet on a path that is known and open. True: the sink has it. False:
  /// nothing was sent, and send() does it or says why not.
  virtual bool send_plain(HeaderBuffer& headers, const PlainPacket& packet,
                          Path& path) noexcept = 0;

  // Replies on behalf of no socket: queued in the link outbox (bounded), sent by the next poll.
  /// A TCP segment for a stranger (RST); `header` is the whole TCP header, checksum not filled in.
  virtual void queue_reply(const IpAddress& source, const IpAddress& destination, Protocol protocol,
                           Bytes transport_header, std::uint8_t checksum_offset) noexcept = 0;
  /// An ICMP error about a TCP segment from `remote` to `local` that began with these bytes (a SYN
  /// that was held). Not for ForwardReject::reset.
  virtual void queue_reject(InterfaceId interface, const IpAddress& local, const IpAddress& remote,
                            Bytes transport, ForwardReject how) noexcept = 0;

 protected:
  ~Output() = default;
};

}  // namespace tidewire::ip
