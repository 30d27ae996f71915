#include "core/tcp/segment.hpp"

#include <algorithm>

namespace tidewire::tcp {

using wire::TcpFlag;

void Segment::trim_front(std::uint32_t n) noexcept {
  if (n == 0) return;
  if (has(TcpFlag::syn)) {
    flags = flags.without(TcpFlag::syn);
    seq += 1;
    --n;
  }
  n = std::min(n, text_len);
  seq += n;
  text_len -= n;
  for (Bytes& region : parts()) {
    const std::size_t cut = std::min<std::size_t>(n, region.size());
    region = region.subspan(cut);
    n -= static_cast<std::uint32_t>(cut);
  }
}

void Segment::trim_back(std::uint32_t n) noexcept {
  if (n == 0) return;
  if (has(TcpFlag::fin)) {
    flags = flags.without(TcpFlag::fin);
    --n;
  }
  n = std::min(n, text_len);
  text_len -= n;
  const std::span<Bytes> all = parts();
  for (auto region = all.rbegin(); region != all.rend(); ++region) {
    const std::size_t cut = std::min<std::size_t>(n, region->size());
    *region = region->first(region->size() - cut);
    n -= static_cast<std::uint32_t>(cut);
  }
}

DropReason parse_segment(const ip::Packet& packet, Segment& out) noexcept {
  const auto parsed = wire::TcpView::parse(packet.transport);
  if (!parsed) {
    return parsed.error() == wire::ParseError::truncated ? DropReason::tcp_truncated
                                                         : DropReason::tcp_bad_offset;
  }
  const wire::TcpView& view = *parsed;
  if (packet.checksum == ChecksumState::unknown &&
      !view.checksum_ok(packet.source, packet.destination, packet.more)) {
    return DropReason::tcp_bad_checksum;
  }
  out.tuple =
      Tuple::of(packet.destination, view.destination_port(), packet.source, view.source_port());
  if (out.tuple.local_port == 0 || out.tuple.remote_port == 0) return DropReason::tcp_port_zero;
  out.seq = view.seq();
  out.ack = view.ack();
  out.flags = view.flags();
  out.window = view.window();
  out.urgent = view.urgent_pointer();
  out.segs = std::max<std::uint16_t>(packet.segs, 1);
  out.seg_size = packet.seg_size;
  out.interface = packet.interface;
  out.tos = packet.tos;
  out.ingress = packet.ingress;
  const Bytes first = view.payload();
  out.text = {first, packet.more[0], packet.more[1], packet.more[2]};
  out.text_len = static_cast<std::uint32_t>(packet.transport_size() - view.header_len());
  //= RFC 9293 §3.1
  // An option with an impossible length ends the list; what stands before it counts (MUST-7).
  (void)wire::parse_tcp_options(view.options(), out.options);
  return DropReason::none;
}

}  // namespace tidewire::tcp
