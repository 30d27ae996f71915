// Raw ICMP sockets of programs that may have them. What they see is made from echo sockets: the
// replies to their requests, and the ICMP errors about these.
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "front/posix/netd.hpp"

namespace tidewire::posix {
namespace {

constexpr std::size_t icmp_header = 8;
constexpr std::size_t checksum_at = 2;
constexpr std::size_t ident_at = 4;

std::uint16_t folded(std::uint32_t sum) {
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(sum);
}

// Over whole 16-bit words, in the order of the wire.
std::uint16_t checksum(Bytes data) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < data.size(); i += 2) {
    std::uint16_t word = 0;
    std::memcpy(&word, data.data() + i, std::min<std::size_t>(2, data.size() - i));
    sum = folded(sum + word);
  }
  return static_cast<std::uint16_t>(~sum);
}

template <typename T>
T load(Bytes data, std::size_t at) {
  T value{};
  std::memcpy(&value, data.data() + at, sizeof value);
  return value;
}

template <typename T>
void store(MutBytes data, std::size_t at, T value) {
  std::memcpy(data.data() + at, &value, sizeof value);
}

//= RFC 1624 §3
// Gives an echo message the identifier that the program chose.
void rename(MutBytes message, std::uint16_t ident) {
  if (message.size() < icmp_header) return;
  const auto old_ident = load<std::uint16_t>(message, ident_at);
  const auto old_sum = load<std::uint16_t>(message, checksum_at);
  const std::uint32_t sum = static_cast<std::uint16_t>(~old_sum) +
                            static_cast<std::uint32_t>(static_cast<std::uint16_t>(~old_ident)) +
                            ident;
  store(message, checksum_at, static_cast<std::uint16_t>(~folded(sum)));
  store(message, ident_at, ident);
}

// An IPv4 header in front of what follows it.
void put_header(std::vector<std::byte>& packet, const Datagram& about, std::size_t payload) {
  iphdr header{};
  header.version = 4;
  header.ihl = sizeof header / 4;
  header.tos = static_cast<std::uint8_t>(std::max(about.traffic_class, 0));
  header.tot_len = htons(static_cast<std::uint16_t>(sizeof header + payload));
  header.ttl = static_cast<std::uint8_t>(std::max(about.hop_limit, 1));
  header.protocol = IPPROTO_ICMP;
  header.saddr = htonl(about.source.address.v4_value());
  header.daddr = htonl(about.destination.address.v4_value());
  header.check = checksum(as_bytes(&header, sizeof header));
  const Bytes bytes = as_bytes(&header, sizeof header);
  packet.insert(packet.end(), bytes.begin(), bytes.end());
}

}  // namespace

int Netd::send_up(Socket& s, Bytes payload, const SendMeta& meta) {
  if (s.type == SOCK_RAW) {
    if (payload.size() < icmp_header) return EINVAL;
    s.raw_ident = load<std::uint16_t>(payload, ident_at);
  }
  return backend_.send_datagram(s.ref, payload, meta, now_);
}

// As a raw socket shows it: over IPv4 with the IP header.
std::vector<std::byte> Netd::raw_packet(const Socket& s, const Datagram& about, Bytes message) {
  std::vector<std::byte> packet;
  if (s.domain == AF_INET) put_header(packet, about, message.size());
  const std::size_t at = packet.size();
  packet.insert(packet.end(), message.begin(), message.end());
  rename(MutBytes(packet).subspan(at), s.raw_ident);
  return packet;
}

// The ICMP error that the oldest entry of the error queue was made from, IPv4 only.
void Netd::take_raw_error(Socket& s) {
  const KeptError kept = std::move(s.errors.front());
  s.errors.pop_front();
  if (kept.about.local || s.domain != AF_INET) return;
  Datagram outer;
  outer.source = {kept.about.offender, 0, 0};
  outer.destination.address = backend_.local(s.ref).address;
  for (const InterfaceInfo& i : backend_.interfaces()) {
    if (outer.destination.address.is_unspecified() && !i.loopback) {
      outer.destination.address = i.address.address;
    }
  }
  Datagram sent;
  sent.source = outer.destination;
  sent.destination = kept.about.destination;
  std::vector<std::byte> message(icmp_header);
  message[0] = std::byte{kept.about.type};
  message[1] = std::byte{kept.about.code};
  if (kept.about.type == ICMP_DEST_UNREACH && kept.about.code == ICMP_FRAG_NEEDED) {
    store(message, 6, htons(static_cast<std::uint16_t>(kept.about.info)));
  }
  put_header(message, sent, kept.quote.size());
  const std::size_t at = message.size();
  message.insert(message.end(), kept.quote.begin(), kept.quote.end());
  rename(MutBytes(message).subspan(at), s.raw_ident);
  store(message, checksum_at, checksum(message));
  s.stuck_down.clear();
  put_header(s.stuck_down, outer, message.size());
  s.stuck_down.insert(s.stuck_down.end(), message.begin(), message.end());
  s.stuck_down_about = outer;
}

}  // namespace tidewire::posix
