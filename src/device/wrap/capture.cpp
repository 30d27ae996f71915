#include "device/wrap/capture.hpp"

#include <array>
#include <optional>

#include "base/random.hpp"
#include "device/wrap/materialise.hpp"
#include "wire/checksum.hpp"
#include "wire/load.hpp"

namespace tidewire::device {
namespace {

constexpr RandomSeed kFrameKey{1, 2};  // only tells the packets of one push apart
constexpr std::uint8_t kTcp = 6;
constexpr std::uint8_t kUdp = 17;

struct Layers {
  std::size_t network = 0;
  std::size_t transport = 0;
  std::size_t payload = 0;  ///< offset of the transport payload
  std::uint8_t protocol = 0;
};

/// Where the headers of a plain TCP or UDP packet are; nothing for anything else.
std::optional<Layers> find_layers(Bytes head, Medium medium) {
  Layers at;
  at.network = medium == Medium::ethernet ? 14 : 0;
  if (head.size() < at.network + 20) return std::nullopt;
  const Bytes ip = head.subspan(at.network);
  const unsigned version = wire::load_u8(ip.data()) >> 4;
  if (version == 4) {
    at.transport = at.network + (wire::load_u8(ip.data()) & 0xfU) * 4U;
    at.protocol = wire::load_u8(ip.data() + 9);
  } else if (version == 6) {
    at.transport = at.network + 40;
    at.protocol = wire::load_u8(ip.data() + 6);
  } else {
    return std::nullopt;
  }
  const std::size_t least = at.protocol == kTcp ? 20 : 8;
  if ((at.protocol != kTcp && at.protocol != kUdp) || at.transport < at.network + 20 ||
      head.size() < at.transport + least) {
    return std::nullopt;
  }
  const std::byte* transport = head.data() + at.transport;
  at.payload =
      at.transport +
      (at.protocol == kTcp ? std::size_t{wire::load_u8(transport + 12)} / 16 * 4 : std::size_t{8});
  if (at.payload < at.transport + least || head.size() < at.payload) return std::nullopt;
  return at;
}

IpAddress address_at(Bytes ip, bool source) {
  if (wire::load_u8(ip.data()) >> 4 == 4) {
    return IpAddress::v4(wire::load_u32(ip.data() + (source ? 12 : 16)));
  }
  std::array<std::uint8_t, 16> octets{};
  for (std::size_t i = 0; i < 16; ++i) {
    octets[i] = wire::load_u8(ip.data() + (source ? 8 : 24) + i);
  }
  return IpAddress::v6(octets);
}

}  // namespace

Capture::Capture(std::unique_ptr<Device> inner, PcapngWriter& writer)
    : Wrapper(std::move(inner)),
      writer_(writer),
      medium_(capabilities().medium),
      interface_(writer.add_interface(name(), medium_)),
      scratch_(65536 + 512) {}

void Capture::advance(Instant now) noexcept {
  now_ = later(now_, now);
  Wrapper::advance(now);
}

PushResult Capture::push(const TxFrame& frame) noexcept {
  seen_.clear();
  pushing_ = true;
  const PushResult result = inner().push(frame);
  pushing_ = false;
  if (result == PushResult::full) return result;
  const std::uint32_t packets = wire_packets(frame);
  for (std::uint32_t i = 0; i < packets; ++i) {
    const Bytes packet = Bytes{scratch_}.first(materialise(frame, i, scratch_));
    writer_.packet(interface_, now_, packet, PacketFlow::outbound, comment_for(packet));
  }
  return result;
}

std::span<const RxFrame> Capture::receive(Instant now, std::size_t limit) noexcept {
  now_ = later(now_, now);
  const std::span<const RxFrame> frames = inner().receive(now, limit);
  for (const RxFrame& frame : frames) record_received(frame);
  return frames;
}

void Capture::record_received(const RxFrame& frame) {
  const std::array<Bytes, 4> whole{frame.head, frame.more[0], frame.more[1], frame.more[2]};
  const std::optional<Layers> at = find_layers(frame.head, medium_);
  const bool as_is = frame.seg_size == 0 && frame.checksum != ChecksumState::partial;
  if (as_is || !at) return writer_.packet(interface_, frame.ingress, whole, PacketFlow::inbound);
  headers_.assign(frame.head.begin(),
                  frame.head.begin() + static_cast<std::ptrdiff_t>(at->payload));
  const std::array<Bytes, 4> payload{frame.head.subspan(at->payload), frame.more[0], frame.more[1],
                                     frame.more[2]};
  TxFrame out;
  out.headers = headers_;
  out.payload = payload;
  out.seg_size = frame.seg_size;
  out.network_offset = static_cast<std::uint8_t>(at->network);
  out.transport_offset = static_cast<std::uint8_t>(at->transport);
  out.checksum_offset = at->protocol == kTcp ? 16 : 6;
  out.checksum_pending = true;
  const Bytes ip = frame.head.subspan(at->network);
  const std::size_t length = at->payload - at->transport + out.payload_size();
  wire::store_u16(headers_.data() + at->transport + out.checksum_offset,
                  wire::pseudo_header_sum(address_at(ip, true), address_at(ip, false), at->protocol,
                                          static_cast<std::uint32_t>(length)));
  const std::uint32_t packets = wire_packets(out);
  for (std::uint32_t i = 0; i < packets; ++i) {
    const Bytes packet = Bytes{scratch_}.first(materialise(out, i, scratch_));
    writer_.packet(interface_, frame.ingress, packet, PacketFlow::inbound);
  }
}

void Capture::on_impact(const ImpactRecord& record) noexcept {
  if (!pushing_) return;  // the other direction's
  std::string text(to_string(record.impact));
  text += " (flow " + std::to_string(record.flow_number) + ", packet " +
          std::to_string(record.ordinal) + ")";
  seen_.push_back({siphash13(kFrameKey, record.frame), std::move(text)});
}

std::string Capture::comment_for(Bytes packet) {
  std::string comment;
  if (seen_.empty()) return comment;
  const std::uint64_t hash = siphash13(kFrameKey, packet);
  for (Seen& seen : seen_) {
    if (seen.frame_hash != hash || seen.text.empty()) continue;
    if (!comment.empty()) comment += ", ";
    comment += seen.text;
  }
  return comment;
}

}  // namespace tidewire::device
