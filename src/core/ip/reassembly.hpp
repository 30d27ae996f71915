// Reassembly of fragments (RFC 791 §3.2, RFC 815), bounded in bytes, datagrams and work.
#pragma once

#include <array>
#include <cstdint>

#include "base/chunk_pool.hpp"
#include "base/flat_map.hpp"
#include "base/list.hpp"
#include "base/slab.hpp"
#include "core/context.hpp"
#include "wire/address.hpp"
#include "wire/frame.hpp"

namespace tidewire::ip {

struct Fragment {
  IpAddress source, destination;
  std::uint32_t identification = 0;
  std::uint8_t protocol = 0;
  InterfaceId interface = kNoInterface;
  std::uint32_t offset = 0;  ///< bytes
  bool more = false;
  Bytes header;  ///< the IP header of this fragment, at most 60 bytes
  Bytes payload;
  std::array<Bytes, 3> rest;  ///< payload that follows
};

/// A datagram that became complete, or the first fragment of one that never did. The spans are
/// valid until the next call.
struct Reassembled {
  InterfaceId interface = kNoInterface;
  IpAddress source, destination;
  Bytes header;  ///< of the fragment at offset 0, as received
  Bytes payload;
};

/// Receives the datagrams that timed out after their first fragment had come.
class ReassemblyTimeouts {
 public:
  virtual void reassembly_timed_out(const Reassembled& first) noexcept = 0;

 protected:
  ~ReassemblyTimeouts() = default;
};

class Reassembly {
 public:
  Reassembly(Context& context, ChunkPool& chunks) noexcept;
  ~Reassembly();
  Reassembly(const Reassembly&) = delete;
  Reassembly& operator=(const Reassembly&) = delete;

  /// Takes a fragment; the datagram if it is complete now (then it is no longer kept here).
  const Reassembled* add(const Fragment& fragment) noexcept;

  Instant next_deadline() const noexcept {
    return by_age_.empty() ? Instant::never() : first_deadline();
  }
  /// At most `limit` datagrams are given up; returns how many.
  std::uint32_t on_timeout(std::uint32_t limit, ReassemblyTimeouts& target) noexcept;
  std::uint32_t size() const noexcept { return queues_.size(); }
  std::size_t bytes() const noexcept { return bytes_; }

 private:
  Instant first_deadline() const noexcept;

  static constexpr std::uint32_t kUnit = 8;
  static constexpr std::uint32_t kUnits = 65'536 / kUnit;
  static constexpr std::size_t kMapWords = kUnits / 64;

  struct Key {
    IpAddress source, destination;
    std::uint32_t identification;
    std::uint8_t protocol;
    friend bool operator==(const Key&, const Key&) noexcept = default;
  };
  struct KeyHash {
    std::uint64_t operator()(const RandomSeed& seed, const Key& key) const noexcept;
  };
  struct AgeTag {};
  /// What is missing is a bit map of 8-byte units instead of RFC 815's list of holes: adding a
  /// fragment costs time in its own length only, whatever came before.
  struct Queue : ListNode<AgeTag> {
    Key key{};
    InterfaceId interface = kNoInterface;
    Instant expires;
    Chunk* chunk = nullptr;
    std::uint32_t end = 0;        ///< highest byte received, exclusive
    std::uint32_t total = 0;      ///< payload bytes in all; 0: the last fragment is not here yet
    std::uint32_t units = 0;      ///< units received
    std::uint8_t header_len = 0;  ///< 0: fragment 0 is not here yet
    std::uint8_t ecn = 0;         ///< bit n: a fragment had n in its ECN field
    std::array<std::byte, 60> header{};
    std::array<std::uint64_t, kMapWords> map{};
  };
  enum class Overlap : std::uint8_t { none, duplicate, overlap };

  Queue* find_or_make(const Fragment& fragment) noexcept;
  bool check(const Fragment& fragment, std::uint32_t size) noexcept;
  bool fits(Queue& queue, const Fragment& fragment, std::uint32_t size) noexcept;
  bool grow(Queue& queue, std::uint32_t end) noexcept;
  Overlap overlap_of(const Queue& queue, std::uint32_t first, std::uint32_t count) const noexcept;
  void store(Queue& queue, const Fragment& fragment, std::uint32_t size) noexcept;
  const Reassembled* finish(Queue& queue) noexcept;
  void remove(Queue& queue) noexcept;
  void release_chunk(Queue& queue) noexcept;
  bool make_room(std::size_t bytes, const Queue* keep) noexcept;

  Context& context_;
  ChunkPool& chunks_;
  Slab<Queue> queues_;
  FlatMap<Key, std::uint32_t, KeyHash> index_;
  List<Queue, AgeTag> by_age_;
  std::size_t bytes_ = 0;
  Reassembled done_;
  std::array<std::byte, 60> done_header_{};
  Chunk* done_chunk_ = nullptr;
};

}  // namespace tidewire::ip
