// A FIFO of datagrams in one growing block of memory.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <utility>

#include "base/bytes.hpp"
#include "base/memory.hpp"

namespace tidewire::udp {

/// Keeps order and boundaries. Memory is taken with the first datagram, grows by doubling up to
/// what `limit` needs, and is kept until clear_memory() or the end, so steady traffic makes no
/// allocation.
template <typename Meta>
class DatagramRing {
  static_assert(std::is_trivially_copyable_v<Meta>);

 public:
  explicit DatagramRing(MemoryProvider& memory) noexcept : memory_(&memory) {}
  DatagramRing(const DatagramRing&) = delete;
  DatagramRing& operator=(const DatagramRing&) = delete;
  ~DatagramRing() { clear_memory(); }

  struct Front {
    Meta meta;
    Bytes first, second;  ///< the payload; `second` is what wrapped around
    std::size_t size() const noexcept { return first.size() + second.size(); }
  };

  /// Adds a datagram. False: no memory. Limits are the caller's: see cost() and bytes().
  [[nodiscard]] bool push(const Meta& meta, std::span<const Bytes> payload) noexcept {
    std::uint32_t size = 0;
    for (const Bytes part : payload) size += static_cast<std::uint32_t>(part.size());
    if (!reserve(bytes_ + cost(size))) return false;
    const Header header{meta, size};
    std::size_t at = put(tail(), as_bytes(&header, sizeof header));
    for (const Bytes part : payload) at = put(at, part);
    bytes_ += cost(size);
    payload_ += size;
    ++count_;
    return true;
  }
  /// The oldest datagram. Only if not empty(). Valid until the next push or pop.
  Front front() const noexcept {
    Header header;
    get(head_, {reinterpret_cast<std::byte*>(&header), sizeof header});
    const std::size_t start = (head_ + sizeof(Header)) & mask();
    const std::size_t first = std::min<std::size_t>(header.size, capacity_ - start);
    return {header.meta, Bytes{data_ + start, first}, Bytes{data_, header.size - first}};
  }
  void pop() noexcept {
    Header header;
    get(head_, {reinterpret_cast<std::byte*>(&header), sizeof header});
    head_ = (head_ + cost(header.size)) & mask();
    bytes_ -= cost(header.size);
    payload_ -= header.size;
    --count_;
  }

  /// What a datagram of `size` bytes takes of the limit.
  static constexpr std::size_t cost(std::size_t size) noexcept { return sizeof(Header) + size; }
  bool empty() const noexcept { return count_ == 0; }
  std::uint32_t count() const noexcept { return count_; }
  std::size_t bytes() const noexcept { return bytes_; }      ///< sum of cost()
  std::size_t payload() const noexcept { return payload_; }  ///< sum of the sizes

  void clear_memory() noexcept {
    if (data_ != nullptr) memory_->deallocate(data_, capacity_, alignof(std::max_align_t));
    data_ = nullptr;
    capacity_ = head_ = bytes_ = payload_ = 0;
    count_ = 0;
  }
  void swap(DatagramRing& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(data_, other.data_);
    std::swap(capacity_, other.capacity_);
    std::swap(head_, other.head_);
    std::swap(bytes_, other.bytes_);
    std::swap(payload_, other.payload_);
    std::swap(count_, other.count_);
  }

 private:
  struct Header {
    Meta meta;
    std::uint32_t size;
  };
  static constexpr std::size_t kFirst = 4096;

  std::size_t mask() const noexcept { return capacity_ - 1; }
  std::size_t tail() const noexcept { return (head_ + bytes_) & mask(); }

  std::size_t put(std::size_t at, Bytes from) noexcept {
    if (from.empty()) return at;
    const std::size_t first = std::min(from.size(), capacity_ - at);
    std::memcpy(data_ + at, from.data(), first);
    if (first < from.size()) std::memcpy(data_, from.data() + first, from.size() - first);
    return (at + from.size()) & mask();
  }
  void get(std::size_t at, MutBytes to) const noexcept {
    const std::size_t first = std::min(to.size(), capacity_ - at);
    std::memcpy(to.data(), data_ + at, first);
    if (first < to.size()) std::memcpy(to.data() + first, data_, to.size() - first);
  }
  bool reserve(std::size_t wanted) noexcept {
    if (wanted <= capacity_) return true;
    const std::size_t larger = std::bit_ceil(std::max(wanted, kFirst));
    auto* fresh = static_cast<std::byte*>(memory_->allocate(larger, alignof(std::max_align_t)));
    if (fresh == nullptr) return false;
    if (bytes_ != 0) get(head_, {fresh, bytes_});
    if (data_ != nullptr) memory_->deallocate(data_, capacity_, alignof(std::max_align_t));
    data_ = fresh;
    capacity_ = larger;
    head_ = 0;
    return true;
  }

  MemoryProvider* memory_;
  std::byte* data_ = nullptr;
  std::size_t capacity_ = 0;  ///< 0 or a power of two
  std::size_t head_ = 0;
  std::size_t bytes_ = 0;
  std::size_t payload_ = 0;
  std::uint32_t count_ = 0;
};

}  // namespace tidewire::udp
