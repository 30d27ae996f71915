#include "device/backends/write_batch.hpp"

#include <errno.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

namespace tidewire::device {

Result<std::unique_ptr<WriteBatch>, std::string> WriteBatch::open(int fd, VnetCounters& counters) {
  auto ring = IoRing::open(fd, kFrames);
  if (!ring) return fail(ring.error());
  return std::unique_ptr<WriteBatch>(new WriteBatch(fd, std::move(*ring), counters));
}

WriteBatch::WriteBatch(int fd, IoRing ring, VnetCounters& counters)
    : fd_(fd), ring_(std::move(ring)), counters_(counters), slots_(kFrames) {}

bool WriteBatch::takes(const TxFrame& frame) noexcept {
  const std::size_t payload = frame.payload_stays ? 0 : frame.payload_size();
  return sizeof(VnetHeader) + frame.headers.size() + payload <= kCopied &&
         frame.payload.size() < kPieces;
}

PushResult WriteBatch::add(const TxFrame& frame) noexcept {
  if (holds() && !write()) {
    ++counters_.full;
    return PushResult::full;
  }
  Slot& slot = slots_[used_++];
  const VnetHeader header = vnet_header(frame);
  std::byte* end = slot.copied.data();
  const auto copy = [&end](const void* from, std::size_t size) {
    std::memcpy(end, from, size);
    end += size;
  };
  copy(&header, sizeof header);
  copy(frame.headers.data(), frame.headers.size());
  slot.pieces_used = 1;
  slot.result = -EIO;
  for (const Bytes region : frame.payload) {
    if (!frame.payload_stays) {
      copy(region.data(), region.size());
    } else {
      slot.pieces[slot.pieces_used++] = {const_cast<std::byte*>(region.data()), region.size()};
    }
  }
  slot.pieces[0] = {slot.copied.data(), static_cast<std::size_t>(end - slot.copied.data())};
  if (used_ == kFrames) (void)write();
  return PushResult::taken;
}

bool WriteBatch::write() noexcept {
  if (!write_held()) return false;
  write_slots();
  for (const Slot& slot : std::span{slots_}.first(used_)) settle(slot);
  used_ = 0;
  return !holds();
}

void WriteBatch::write_slots() noexcept {
  std::uint32_t taken = 0;
  if (used_ > 1) {  // for one frame the plain call is shorter
    for (std::uint32_t i = 0; i < used_; ++i) {
      ring_.add_write(slots_[i].pieces.data(), slots_[i].pieces_used, i);
    }
    taken = ring_.submit();
    while (const auto done = ring_.next_done()) slots_[done->tag].result = done->result;
  }
  for (Slot& slot : std::span{slots_}.first(used_).subspan(taken)) {
    slot.result = -write_frame(fd_, std::span{slot.pieces}.first(slot.pieces_used));
  }
}

void WriteBatch::settle(const Slot& slot) noexcept {
  if (slot.result >= 0) {
    ++counters_.frames_out;
  } else if (is_room_error(-slot.result) || slot.result == -EINTR) {
    hold(slot);
  } else {
    ++counters_.errors_out;
  }
}

void WriteBatch::hold(const Slot& slot) noexcept {
  const std::size_t before = held_.size();
  for (const iovec& piece : std::span{slot.pieces}.first(slot.pieces_used)) {
    const auto* bytes = static_cast<const std::byte*>(piece.iov_base);
    held_.insert(held_.end(), bytes, bytes + piece.iov_len);
  }
  held_sizes_.push_back(held_.size() - before);
}

bool WriteBatch::write_held() noexcept {
  for (; next_held_ < held_sizes_.size(); ++next_held_) {
    const iovec whole{held_.data() + next_offset_, held_sizes_[next_held_]};
    const int error = write_frame(fd_, {&whole, 1});
    if (is_room_error(error)) return false;
    ++(error == 0 ? counters_.frames_out : counters_.errors_out);
    next_offset_ += whole.iov_len;
  }
  held_.clear();
  held_sizes_.clear();
  next_held_ = next_offset_ = 0;
  return true;
}

}  // namespace tidewire::device
