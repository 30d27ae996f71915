// Packets that wait: in an interface's outbox or on an unresolved neighbor.
#pragma once

#include <cstdint>

#include "base/chunk_pool.hpp"
#include "base/list.hpp"
#include "base/slab.hpp"
#include "core/context.hpp"
#include "wire/address.hpp"
#include "wire/ethernet.hpp"
#include "wire/frame.hpp"

namespace tidewire::link {

struct QueueTag {};

/// A whole IP (or ARP) packet without its link header. An IPv4 packet larger than the MTU is sent
/// as fragments; `sent` remembers how far that went when the interface became full.
struct QueuedPacket : ListNode<QueueTag> {
  Chunk* chunk = nullptr;
  std::uint32_t size = 0;  ///< bytes at chunk->data
  InterfaceId interface = kNoInterface;
  wire::EtherType ether_type = wire::EtherType::ipv4;
  MacAddress link_destination;
  std::uint32_t mtu = 0;   ///< of the path; 0: the interface's
  std::uint32_t sent = 0;  ///< bytes of IP payload that have left as fragments
  bool forwarded = false;  ///< from another host
  // As in TxFrame, for packets that are forwarded as they came.
  std::uint32_t seg_size = 0;
  std::uint16_t segs = 1;
  std::uint8_t transport_offset = 0;
  bool checksum_pending = false;
  std::uint8_t checksum_offset = 0;

  MutBytes bytes() noexcept { return {chunk->data, size}; }
};

/// A FIFO of packets that counts its bytes. Does not own them: drain it into the store.
class PacketQueue {
 public:
  bool empty() const noexcept { return list_.empty(); }
  std::uint32_t size_bytes() const noexcept { return bytes_; }
  std::uint32_t count() const noexcept { return count_; }
  QueuedPacket* front() noexcept { return list_.front(); }
  void push(QueuedPacket& packet) noexcept {
    list_.push_back(packet);
    bytes_ += packet.size;
    ++count_;
  }
  QueuedPacket* pop() noexcept {
    QueuedPacket* packet = list_.pop_front();
    if (packet == nullptr) return nullptr;
    bytes_ -= packet->size;
    --count_;
    return packet;
  }

 private:
  List<QueuedPacket, QueueTag> list_;
  std::uint32_t bytes_ = 0;
  std::uint32_t count_ = 0;
};

/// Where the packets of one stack live. Keeps some free memory, so that steady traffic makes no
/// allocation.
class PacketStore {
 public:
  explicit PacketStore(MemoryProvider& memory) noexcept;

  /// A packet of `size` bytes (at most 65535), content not initialised; null: no memory.
  [[nodiscard]] QueuedPacket* acquire(std::size_t size) noexcept;
  void release(QueuedPacket& packet) noexcept;
  void drain(PacketQueue& queue) noexcept;
  ChunkPool& chunks() noexcept { return chunks_; }

 private:
  static constexpr std::size_t kKeep = 1U << 20;
  ChunkPool chunks_;
  Slab<QueuedPacket> packets_;
};

}  // namespace tidewire::link
