// Datagrams of one size, one behind the other, as the kernel cuts and coalesces them.
#pragma once

#include <cstddef>
#include <cstring>
#include <vector>

#include "base/bytes.hpp"

namespace tidewire::gateway {

/// Gathers datagrams that are read one by one until they make one UDP super-segment: all but the
/// last of the same size, and the last not larger.
class DatagramRun {
 public:
  /// UDP_SEGMENT takes 64, but a socket of the host that does not ask for runs is charged some 5 KB
  /// for each piece, all at once: its usual buffer holds 42.
  static constexpr std::size_t kDatagrams = 16;
  static constexpr std::size_t kBytes = 65'507;  ///< nor more than one datagram over IPv4

  DatagramRun() : buffer_(2 * std::size_t{65'536}) {}

  /// Where the next datagram is read to.
  MutBytes room() noexcept { return MutBytes(buffer_).subspan(size_); }
  /// True if the datagram of `size` bytes that was read to room() continues the run.
  bool continues(std::size_t size) const noexcept {
    return count_ == 0 || (!closed_ && size != 0 && size <= segment_ && size_ + size <= kBytes);
  }
  /// Adds that datagram. Only if it continues the run.
  void add(std::size_t size) noexcept {
    if (count_++ == 0) segment_ = size;
    size_ += size;
    closed_ = count_ == kDatagrams || size == 0 || size < segment_;
  }
  /// Forgets the run; that datagram is the first of the next.
  void restart(std::size_t size) noexcept {
    std::memmove(buffer_.data(), buffer_.data() + size_, size);
    clear();
    add(size);
  }
  /// The bytes stay until the next one is read.
  void clear() noexcept {
    size_ = segment_ = count_ = 0;
    closed_ = false;
  }

  Bytes data() const noexcept { return Bytes(buffer_).first(size_); }
  std::size_t segment() const noexcept { return segment_; }
  std::size_t count() const noexcept { return count_; }
  /// True if nothing can continue it.
  bool closed() const noexcept { return closed_; }

 private:
  std::vector<std::byte> buffer_;
  std::size_t size_ = 0, segment_ = 0, count_ = 0;
  bool closed_ = false;
};

}  // namespace tidewire::gateway
