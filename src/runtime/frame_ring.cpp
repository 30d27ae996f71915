#include "runtime/frame_ring.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

namespace tidewire::runtime {

namespace {

constexpr std::size_t kLeast = std::size_t{256} << 10;
constexpr std::uint32_t kWrap = ~std::uint32_t{0};  // a record's size: go on at the start

constexpr std::uint64_t whole_lines(std::uint64_t bytes) noexcept {
  return (bytes + kCacheLine - 1) / kCacheLine * kCacheLine;
}

}  // namespace

/// Stands before the bytes of a frame, at the start of a cache line.
struct FrameRing::Record {
  std::uint32_t size = 0;
  std::uint16_t seg_size = 0;
  std::uint16_t segs = 1;
  ChecksumState checksum = ChecksumState::unknown;
  std::uint8_t note = 0;
  Instant ingress;
};

// The memory is not touched: what is never used costs address space only.
FrameRing::FrameRing(std::size_t bytes)
    : size_(std::bit_ceil(std::max(bytes, kLeast))),
      memory_(std::make_unique_for_overwrite<std::byte[]>(size_ + kCacheLine)) {}

std::byte* FrameRing::at(std::uint64_t position) const noexcept {
  void* start = memory_.get();
  std::size_t space = size_ + kCacheLine;
  start = std::align(kCacheLine, size_, start, space);
  return static_cast<std::byte*>(start) + (position & (size_ - 1));
}

std::uint64_t FrameRing::room_before_end(std::uint64_t position) const noexcept {
  return size_ - (position & (size_ - 1));
}

bool FrameRing::push(const RxFrame& frame, std::uint8_t note) noexcept {
  const std::uint64_t tail = tail_.load(std::memory_order_relaxed);
  const std::uint64_t needed = whole_lines(sizeof(Record) + frame.size());
  const std::uint64_t to_end = room_before_end(tail);
  const std::uint64_t skipped = needed > to_end ? to_end : 0;
  if (tail + skipped + needed - head_seen_ > size_) {
    head_seen_ = head_.load(std::memory_order_acquire);
    if (tail + skipped + needed - head_seen_ > size_) return false;
  }
  if (skipped != 0) ::new (at(tail)) Record{.size = kWrap, .ingress = {}};
  std::byte* out = at(tail + skipped);
  ::new (out) Record{.size = static_cast<std::uint32_t>(frame.size()),
                     .seg_size = frame.seg_size,
                     .segs = frame.segs,
                     .checksum = frame.checksum,
                     .note = note,
                     .ingress = frame.ingress};
  out += sizeof(Record);
  for (const Bytes part : {frame.head, frame.more[0], frame.more[1], frame.more[2]}) {
    if (part.empty()) continue;
    std::memcpy(out, part.data(), part.size());
    out += part.size();
  }
  tail_.store(tail + skipped + needed, std::memory_order_release);
  return true;
}

bool FrameRing::empty() noexcept {
  if (read_ != tail_seen_) return false;
  tail_seen_ = tail_.load(std::memory_order_acquire);
  return read_ == tail_seen_;
}

std::optional<FrameRing::Taken> FrameRing::take() noexcept {
  if (empty()) return std::nullopt;
  const auto* record = std::launder(reinterpret_cast<const Record*>(at(read_)));
  if (record->size == kWrap) {
    read_ += room_before_end(read_);
    record = std::launder(reinterpret_cast<const Record*>(at(read_)));
  }
  Taken taken;
  taken.frame.head = {at(read_) + sizeof(Record), record->size};
  taken.frame.seg_size = record->seg_size;
  taken.frame.segs = record->segs;
  taken.frame.checksum = record->checksum;
  taken.frame.ingress = record->ingress;
  taken.note = record->note;
  read_ += whole_lines(sizeof(Record) + record->size);
  return taken;
}

void FrameRing::release() noexcept {
  if (head_.load(std::memory_order_relaxed) != read_) {
    head_.store(read_, std::memory_order_release);
  }
}

}  // namespace tidewire::runtime
