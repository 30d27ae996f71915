#include "device/wrap/capture.hpp"

#include <array>

#include "base/random.hpp"
#include "device/wrap/materialise.hpp"

namespace tidewire::device {
namespace {

constexpr RandomSeed kFrameKey{1, 2};  // only tells the packets of one push apart

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
  const TxFrame* out = RxSplitter::is_plain(frame) ? nullptr : splitter_.convert(frame, medium_);
  if (out == nullptr) {
    const std::array<Bytes, 4> whole{frame.head, frame.more[0], frame.more[1], frame.more[2]};
    return writer_.packet(interface_, frame.ingress, whole, PacketFlow::inbound);
  }
  const std::uint32_t packets = wire_packets(*out);
  for (std::uint32_t i = 0; i < packets; ++i) {
    const Bytes packet = Bytes{scratch_}.first(materialise(*out, i, scratch_));
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
