#include "core/link/packet_store.hpp"

namespace tidewire::link {

PacketStore::PacketStore(MemoryProvider& memory) noexcept
    : chunks_(memory, SIZE_MAX, kKeep), packets_(memory) {}

QueuedPacket* PacketStore::acquire(std::size_t size) noexcept {
  if (size > chunk_bytes(ChunkSize::kib64)) return nullptr;
  QueuedPacket* packet = packets_.acquire();
  if (packet == nullptr) return nullptr;
  packet->chunk = chunks_.acquire(chunk_for(size));
  if (packet->chunk == nullptr) {
    packets_.release(*packet);
    return nullptr;
  }
  packet->size = static_cast<std::uint32_t>(size);
  return packet;
}

void PacketStore::release(QueuedPacket& packet) noexcept {
  packet.unlink();
  chunks_.release(*packet.chunk);
  packets_.release(packet);
}

void PacketStore::drain(PacketQueue& queue) noexcept {
  while (QueuedPacket* packet = queue.pop()) release(*packet);
}

}  // namespace tidewire::link
