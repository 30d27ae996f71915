#include "core/ip/train.hpp"

#include <cstring>

#include "wire/ipv4.hpp"
#include "wire/load.hpp"
#include "wire/tcp.hpp"

namespace tidewire::ip {
namespace {

using wire::load_native;
using wire::load_u16;
using wire::load_u32;
using wire::load_u8;

constexpr std::size_t kIp = wire::kIpv4MinHeaderLen;
constexpr std::size_t kTcp = wire::kTcpMinHeaderLen;
constexpr std::uint8_t kPush = 0x08;

template <typename Word>
bool same(const std::byte* a, const std::byte* b, std::size_t at) noexcept {
  return load_native<Word>(a + at) == load_native<Word>(b + at);
}

}  // namespace

bool Train::start(const Packet& packet) noexcept {
  const Bytes ip = packet.ip_header;
  if (ip.size() != kIp || (load_u8(ip.data()) >> 4) != 4) return false;
  network_ = static_cast<std::size_t>(ip.data() - first_.data());
  const std::size_t options = (load_u8(packet.transport.data() + 12) >> 4) * std::size_t{4};
  text_ = network_ + kIp + options;
  // A frame with padding would compare as longer than its packet.
  if (network_ + kIp + packet.transport.size() != first_.size()) return false;
  pseudo_.add_pseudo_header_v4(packet.source.v4_value(), packet.destination.v4_value(),
                               wire::protocol::tcp, 0);
  return true;
}

// Everything that says how a segment is to be handled is as in the first one.
bool Train::continues(Bytes frame, Seq seq) const noexcept {
  const std::byte* a = first_.data();
  const std::byte* b = frame.data();
  if (network_ != 0 && std::memcmp(a, b, network_) != 0) return false;
  a += network_;
  b += network_;
  // Version, header length and type of service; fragment field; time to live and protocol; source
  // and destination.
  if (!same<std::uint16_t>(a, b, 0) || !same<std::uint16_t>(a, b, 6) ||
      !same<std::uint16_t>(a, b, 8) || !same<std::uint64_t>(a, b, 12) ||
      load_u16(b + 2) != frame.size() - network_) {
    return false;
  }
  a += kIp;
  b += kIp;
  // Ports; acknowledgement; data offset and flags but PSH; window; options.
  const std::size_t options = text_ - network_ - kIp - kTcp;
  return same<std::uint32_t>(a, b, 0) && load_u32(b + 4) == seq.value() &&
         same<std::uint32_t>(a, b, 8) && same<std::uint8_t>(a, b, 12) &&
         load_u8(a + 13) == (load_u8(b + 13) & ~kPush) && same<std::uint16_t>(a, b, 14) &&
         std::memcmp(a + kTcp, b + kTcp, options) == 0;
}

bool Train::intact(const RxFrame& frame) const noexcept {
  const std::byte* ip = frame.head.data() + network_;
  if (wire::kernel::fold(wire::sum_ipv4_header(ip)) != 0xffff) return false;
  if (trusted_ && frame.checksum != ChecksumState::unknown) return true;
  const Bytes tcp = frame.head.subspan(network_ + kIp);
  wire::Checksum whole = pseudo_;
  whole.add_u32(static_cast<std::uint32_t>(tcp.size()));
  whole.add(tcp);
  return whole.verifies();
}

std::optional<Bytes> Train::take(Seq seq, std::size_t room) noexcept {
  if (pushed_ || taken_ == behind_.size()) return std::nullopt;
  const RxFrame& frame = behind_[taken_];
  const std::size_t size = frame.head.size();
  if (size <= text_ || size > first_.size() || size - text_ > room) return std::nullopt;
  if (frame.seg_size != 0 || frame.segs != 1 || frame.size() != size) return std::nullopt;
  if (!continues(frame.head, seq) || !intact(frame)) return std::nullopt;
  ++taken_;
  bytes_ += size;
  pushed_ = (load_u8(frame.head.data() + network_ + kIp + 13) & kPush) != 0;
  // A shorter one ends it, as with what devices coalesce.
  if (size < first_.size()) behind_ = behind_.first(taken_);
  return frame.head.subspan(text_);
}

}  // namespace tidewire::ip
