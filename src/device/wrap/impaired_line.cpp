#include "device/wrap/impaired_line.hpp"

#include <algorithm>

#include "device/wrap/materialise.hpp"
#include "wire/ecn.hpp"

namespace tidewire::device {
namespace {

/// A reordered packet that nothing overtakes goes on after this.
constexpr Duration kPatience = Duration::millis(20);
/// Less is copied sooner than looked after.
constexpr std::size_t kWorthALoan = 16 * 1024;

}  // namespace

ImpairedLine::ImpairedLine(const Options& options, FramePool& pool, FlowTable& flows,
                           ImpactObserver* observer)
    : options_(options),
      pool_(pool),
      observer_(observer),
      impairment_(options.spec, options.direction, options.seed, flows, options.origin) {
  now_ = options.origin;
  whole_ = options.offload;
}

void ImpairedLine::set_spec(const LinkSpec& spec) {
  impairment_.set_spec(spec);
  whole_ = options_.offload && !spec.impairs();
}

ImpairedLine::~ImpairedLine() {
  release_lent();
  for (; !queue_.empty(); queue_.pop_front()) pool_.give(queue_.front().buffer);
  for (const Held& held : held_) pool_.give(held.entry.buffer);
  for (; !parked_.empty(); parked_.pop_front()) {
    if (parked_.front().buffer) pool_.give(parked_.front().buffer);
  }
}

void ImpairedLine::advance(Instant now) {
  now_ = later(now_, now);
  if (writable()) said_full_ = false;
  if (!parked_.empty()) drain_queue();
  if (!held_.empty()) release_held();
}

PushResult ImpairedLine::push(const TxFrame& frame) {
  if (!writable()) {
    said_full_ = true;
    return PushResult::full;
  }
  said_full_ = false;
  // What waits in a queue or is to be overtaken goes by packets.
  const bool whole = whole_ && parked_.empty() && held_.empty();
  if (whole && (frame.seg_size != 0 || frame.checksum_pending)) {
    push_whole(frame);
    return PushResult::taken;
  }
  const Cutter cutter{frame};
  for (std::uint32_t i = 0; i < cutter.packets(); ++i) {
    const FrameBuffer buffer = pool_.take(wire_packet_size(frame, i));
    if (!buffer) {
      report(Impact::no_memory, Fate{}, frame.headers);
      continue;
    }
    cutter.write(i, buffer.space());
    offer(buffer, ChecksumState::unknown);
  }
  return PushResult::taken;
}

void ImpairedLine::push_whole(const TxFrame& frame) {
  const FrameBuffer buffer = pool_.take(frame.size());
  counters_.packets += frame.segs;
  counters_.bytes += frame.size();
  if (!buffer) return report(Impact::no_memory, Fate{}, frame.headers);
  Entry entry;
  entry.release = later(now_, impairment_.last_release());
  entry.buffer = buffer;
  entry.seg_size = static_cast<std::uint16_t>(frame.seg_size);
  entry.segs = frame.segs;
  entry.checksum = frame.checksum_pending ? ChecksumState::partial : ChecksumState::unknown;
  if (!lend(frame, entry)) gather(frame, buffer.space());
  deliver(entry);
}

/// Only what can be received at once: the rest is copied in any case.
bool ImpairedLine::lend(const TxFrame& frame, Entry& entry) {
  const std::size_t size = frame.payload_size();
  if (!options_.lend || !frame.payload_stays || size < kWorthALoan || entry.release > now_ ||
      frame.payload.size() > std::tuple_size_v<decltype(Loan::payload)>) {
    return false;
  }
  Loan loan;
  loan.buffer = entry.buffer;
  loan.headers = static_cast<std::uint32_t>(frame.headers.size());
  std::ranges::copy(frame.headers, entry.buffer.data);
  std::ranges::copy(frame.payload, loan.payload.begin());
  loans_.push_back(loan);
  entry.loan = ++last_loan_;
  lent_bytes_ += size;
  return true;
}

void ImpairedLine::settle() noexcept {
  for (; !loans_.empty(); loans_.pop_front()) {
    const Loan& loan = loans_.front();
    Writer out{loan.buffer.space().subspan(loan.headers)};
    for (const Bytes part : loan.payload) out.bytes(part);
  }
  settled_loan_ = last_loan_;
  lent_bytes_ = 0;
}

void ImpairedLine::push(const RxFrame& frame) {
  const FrameBuffer buffer = pool_.take(frame.size());
  if (!buffer) return report(Impact::no_memory, Fate{}, frame.head);
  Writer out{buffer.space()};
  out.bytes(frame.head);
  for (const Bytes more : frame.more) out.bytes(more);
  offer(buffer, frame.checksum);
}

void ImpairedLine::offer(FrameBuffer buffer, ChecksumState checksum) {
  const PacketKey key = parse_packet_key(buffer.bytes(), options_.medium);
  const Fate fate = impairment_.decide(key, buffer.size, buffer.size - key.network_offset, now_);
  ++counters_.packets;
  counters_.bytes += buffer.size;
  Parked packet{buffer, checksum, static_cast<std::uint8_t>(key.network_offset)};
  if (fate.dropped) {
    report(fate.why, fate, buffer.bytes());
    pool_.give(buffer);
    packet.buffer = {};
  }
  if (fate.waits) {
    parked_.push_back(packet);
  } else if (!fate.dropped) {
    carry(packet, fate);
  }
}

void ImpairedLine::drain_queue() {
  while (const std::optional<Fate> fate = impairment_.next_leaving(now_)) {
    const Parked packet = parked_.front();
    parked_.pop_front();
    if (!packet.buffer) continue;
    if (!fate->dropped) {
      carry(packet, *fate);
      continue;
    }
    report(fate->why, *fate, packet.buffer.bytes());
    pool_.give(packet.buffer);
  }
}

void ImpairedLine::carry(const Parked& packet, const Fate& fate) {
  const FrameBuffer& buffer = packet.buffer;
  Entry entry;
  entry.release = fate.release;
  entry.buffer = buffer;
  entry.checksum = packet.checksum;
  if (fate.marked) {
    report(Impact::marked, fate, buffer.bytes());
    wire::mark_ce(MutBytes{buffer.data, buffer.size}.subspan(packet.network_offset));
  }
  if (fate.corrupt != 0) {
    report(Impact::corrupted, fate, buffer.bytes());
    const std::uint64_t bits = std::uint64_t{buffer.size - packet.network_offset} * 8;
    const std::uint64_t bit = fate.corrupt % bits;
    buffer.data[packet.network_offset + bit / 8] ^= std::byte{1} << (bit % 8);
    entry.checksum = ChecksumState::unknown;
  }
  if (fate.duplicate) report(Impact::duplicated, fate, buffer.bytes());
  if (fate.reordered) report(Impact::reordered, fate, buffer.bytes());
  if (fate.overtaken_by != 0) {
    if (fate.duplicate) copy_of(entry);
    held_.push_back({entry, fate.overtaken_by, fate.release + kPatience});
    return;
  }
  deliver(entry);
  if (fate.duplicate) copy_of(entry);
  overtake(entry.release);
}

void ImpairedLine::report(Impact impact, const Fate& fate, Bytes frame) {
  ++counters_.impacts[static_cast<std::size_t>(impact)];
  if (observer_ == nullptr) return;
  ImpactRecord record;
  record.at = now_;
  record.direction = options_.direction;
  record.impact = impact;
  record.flow_number = fate.flow_number;
  record.ordinal = fate.ordinal;
  record.medium = options_.medium;
  record.frame = frame;
  observer_->on_impact(record);
}

void ImpairedLine::deliver(const Entry& entry) { queue_.push(entry); }

void ImpairedLine::copy_of(Entry entry) {
  const FrameBuffer copy = pool_.take(entry.buffer.size);
  if (!copy) return;
  Writer{copy.space()}.bytes(entry.buffer.bytes());
  entry.buffer = copy;
  deliver(entry);
}

void ImpairedLine::overtake(Instant release) {
  for (Held& held : held_) {
    if (--held.overtaken_by != 0) continue;
    held.entry.release = later(held.entry.release, release);
    deliver(held.entry);
  }
  std::erase_if(held_, [](const Held& held) { return held.overtaken_by == 0; });
}

void ImpairedLine::release_held() {
  for (Held& held : held_) {
    if (held.latest > now_) continue;
    held.overtaken_by = 0;
    held.entry.release = held.latest;
    deliver(held.entry);
  }
  std::erase_if(held_, [](const Held& held) { return held.overtaken_by == 0; });
}

void ImpairedLine::release_lent() noexcept {
  for (const FrameBuffer& buffer : lent_) pool_.give(buffer);
  lent_.clear();
}

std::span<const RxFrame> ImpairedLine::receive(std::size_t limit) {
  release_lent();
  frames_.clear();
  while (frames_.size() < limit && !queue_.empty() && queue_.front().release <= now_) {
    const Entry& entry = queue_.front();
    RxFrame frame;
    frame.head = entry.buffer.bytes();
    if (entry.loan > settled_loan_) {
      const Loan& loan = loans_.front();
      lent_bytes_ -= entry.buffer.size - loan.headers;
      frame.head = frame.head.first(loan.headers);
      frame.more = loan.payload;
      loans_.pop_front();
    }
    frame.seg_size = entry.seg_size;
    frame.segs = entry.segs;
    frame.checksum = entry.checksum;
    frame.ingress = entry.release;
    frames_.push_back(frame);
    lent_.push_back(entry.buffer);
    counters_.delivered += entry.segs;
    queue_.pop_front();
  }
  return frames_;
}

Instant ImpairedLine::next_arrival() const noexcept {
  Instant next = queue_.empty() ? Instant::never() : queue_.front().release;
  for (const Held& held : held_) next = earlier(next, held.latest);
  return earlier(next, impairment_.next_leave_time());
}

Instant ImpairedLine::next_room() const noexcept {
  return said_full_ ? impairment_.full_until(now_) : Instant::never();
}

}  // namespace tidewire::device
