#include "core/ip/reassembly.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "wire/ecn.hpp"
#include "wire/load.hpp"

namespace tidewire::ip {

std::uint64_t Reassembly::KeyHash::operator()(const RandomSeed& seed,
                                              const Key& key) const noexcept {
  const auto half = [](const IpAddress& address, std::size_t at) {
    return wire::load_native<std::uint64_t>(
        reinterpret_cast<const std::byte*>(address.octets().data()) + at);
  };
  const std::uint64_t low = siphash13(seed, half(key.source, 0), half(key.source, 8),
                                      half(key.destination, 0), half(key.destination, 8));
  return siphash13(seed, low, std::uint64_t{key.identification} << 8 | key.protocol);
}

Reassembly::Reassembly(Context& context, ChunkPool& chunks) noexcept
    : context_(context),
      chunks_(chunks),
      queues_(context.memory),
      index_(context.memory,
             derive(context.seed, static_cast<std::uint64_t>(SeedPurpose::reassembly_table))) {}

Reassembly::~Reassembly() {
  while (Queue* queue = by_age_.front()) remove(*queue);
  if (done_chunk_ != nullptr) chunks_.release(*done_chunk_);
}

//= RFC 791 §3.2
const Reassembled* Reassembly::add(const Fragment& fragment) noexcept {
  std::size_t size = fragment.payload.size();
  for (const Bytes part : fragment.rest) size += part.size();
  ++context_.counters.ip_fragments_in;
  if (!check(fragment, static_cast<std::uint32_t>(size))) return nullptr;
  Queue* queue = find_or_make(fragment);
  if (queue == nullptr) return nullptr;
  if (!fits(*queue, fragment, static_cast<std::uint32_t>(size))) return nullptr;
  store(*queue, fragment, static_cast<std::uint32_t>(size));
  //= RFC 815 §3
  // Complete: the length is known and no hole is left.
  if (queue->total != 0 && queue->header_len != 0 &&
      queue->units == (queue->total + kUnit - 1) / kUnit) {
    return finish(*queue);
  }
  return nullptr;
}

// What can be said about a fragment by itself.
bool Reassembly::check(const Fragment& fragment, std::uint32_t size) noexcept {
  if (size == 0 || (fragment.more && size % kUnit != 0)) {
    context_.drop(DropReason::fragment_bad_length, fragment.interface);
    return false;
  }
  if (fragment.offset + size + fragment.header.size() > 65'535) {
    context_.drop(DropReason::fragment_too_long, fragment.interface);
    return false;
  }
  return true;
}

Reassembly::Queue* Reassembly::find_or_make(const Fragment& fragment) noexcept {
  const Key key{fragment.source, fragment.destination, fragment.identification, fragment.protocol};
  if (const std::uint32_t* id = index_.find(key)) return queues_.at_index(*id);
  while (queues_.size() >= std::max(1U, context_.config.ip.reassembly_queues)) {
    context_.drop(DropReason::fragment_limit, fragment.interface);
    remove(*by_age_.front());
  }
  Queue* queue = queues_.acquire();
  if (queue == nullptr) {
    context_.drop(DropReason::no_memory, fragment.interface);
    return nullptr;
  }
  if (index_.insert(key, queues_.index_of(*queue)).value == nullptr) {
    queues_.release(*queue);
    context_.drop(DropReason::no_memory, fragment.interface);
    return nullptr;
  }
  queue->key = key;
  queue->interface = fragment.interface;
  //= RFC 1122 §3.3.2
  // A fixed time from the first fragment that came, not refreshed by later ones.
  queue->expires = context_.now + context_.config.ip.reassembly_timeout;
  by_age_.push_back(*queue);
  return queue;
}

// What can be said about a fragment beside those that are here. A datagram whose fragments
// contradict each other is given up as a whole (RFC 1858, RFC 5722).
bool Reassembly::fits(Queue& queue, const Fragment& fragment, std::uint32_t size) noexcept {
  const std::uint32_t end = fragment.offset + size;
  const bool known = queue.total != 0;
  if ((known && end > queue.total) || (!fragment.more && known && end != queue.total) ||
      (!fragment.more && end < queue.end)) {
    context_.drop(DropReason::fragment_overlap, queue.interface);
    remove(queue);
    return false;
  }
  const std::uint32_t first = fragment.offset / kUnit;
  const std::uint32_t count = (size + kUnit - 1) / kUnit;
  switch (overlap_of(queue, first, count)) {
    case Overlap::none:
      break;
    case Overlap::duplicate:
      return false;  // an exact repetition is no news and no attack
    case Overlap::overlap:
      context_.drop(DropReason::fragment_overlap, queue.interface);
      remove(queue);
      return false;
  }
  if (!grow(queue, end)) {
    remove(queue);
    return false;
  }
  return true;
}

Reassembly::Overlap Reassembly::overlap_of(const Queue& queue, std::uint32_t first,
                                           std::uint32_t count) const noexcept {
  std::uint32_t present = 0;
  const std::uint32_t last = first + count;
  for (std::uint32_t at = first; at < last;) {
    const std::uint32_t bit = at % 64;
    const std::uint32_t span = std::min(64 - bit, last - at);
    const std::uint64_t mask = (span == 64 ? ~0ULL : (1ULL << span) - 1) << bit;
    present += static_cast<std::uint32_t>(std::popcount(queue.map[at / 64] & mask));
    at += span;
  }
  if (present == 0) return Overlap::none;
  return present == count ? Overlap::duplicate : Overlap::overlap;
}

bool Reassembly::grow(Queue& queue, std::uint32_t end) noexcept {
  if (queue.chunk != nullptr && queue.chunk->capacity >= end) return true;
  const ChunkSize wanted = chunk_for(end);
  if (!make_room(chunk_bytes(wanted), &queue)) {
    context_.drop(DropReason::fragment_limit, queue.interface);
    return false;
  }
  Chunk* chunk = chunks_.acquire(wanted);
  if (chunk == nullptr) {
    context_.drop(DropReason::no_memory, queue.interface);
    return false;
  }
  if (queue.chunk != nullptr) std::memcpy(chunk->data, queue.chunk->data, queue.end);
  release_chunk(queue);
  queue.chunk = chunk;
  bytes_ += chunk->capacity;
  return true;
}

// The oldest datagrams are given up for newer ones.
bool Reassembly::make_room(std::size_t bytes, const Queue* keep) noexcept {
  while (bytes_ + bytes > context_.config.ip.reassembly_bytes) {
    Queue* oldest = by_age_.front();
    if (oldest == keep) oldest = by_age_.next(*oldest);
    if (oldest == nullptr) return false;
    context_.drop(DropReason::fragment_limit, oldest->interface);
    remove(*oldest);
  }
  return true;
}

void Reassembly::store(Queue& queue, const Fragment& fragment, std::uint32_t size) noexcept {
  std::byte* to = queue.chunk->data + fragment.offset;
  const auto append = [&](Bytes part) {
    if (part.empty()) return;
    std::memcpy(to, part.data(), part.size());
    to += part.size();
  };
  append(fragment.payload);
  for (const Bytes part : fragment.rest) append(part);
  const std::uint32_t end = fragment.offset + size;
  for (std::uint32_t at = fragment.offset / kUnit; at < (end + kUnit - 1) / kUnit; ++at) {
    queue.map[at / 64] |= 1ULL << (at % 64);
    ++queue.units;
  }
  queue.end = std::max(queue.end, end);
  if (!fragment.more) queue.total = end;
  queue.ecn |= static_cast<std::uint8_t>(1U << (wire::traffic_class_of(fragment.header) & 3));
  if (fragment.offset == 0) {
    //= RFC 815 §5
    queue.header_len = static_cast<std::uint8_t>(fragment.header.size());
    std::ranges::copy(fragment.header, queue.header.begin());
  }
}

const Reassembled* Reassembly::finish(Queue& queue) noexcept {
  //= RFC 3168 §5.3
  // A mark on one fragment is a mark on the datagram; one that is partly not ECN-capable cannot
  // have been marked by an honest router.
  constexpr std::uint8_t kNotEct = 1U << 0;
  constexpr std::uint8_t kCe = 1U << 3;
  if ((queue.ecn & kCe) != 0) {
    if ((queue.ecn & kNotEct) != 0) {
      context_.drop(DropReason::fragment_ecn, queue.interface);
      remove(queue);
      return nullptr;
    }
    wire::mark_ce(MutBytes{queue.header}.first(queue.header_len));
  }
  if (done_chunk_ != nullptr) chunks_.release(*done_chunk_);
  done_chunk_ = queue.chunk;
  bytes_ -= queue.chunk->capacity;
  queue.chunk = nullptr;
  done_header_ = queue.header;
  done_ = {queue.interface, queue.key.source, queue.key.destination,
           Bytes{done_header_}.first(queue.header_len), Bytes{done_chunk_->data, queue.total}};
  remove(queue);
  ++context_.counters.ip_reassembled;
  return &done_;
}

void Reassembly::release_chunk(Queue& queue) noexcept {
  if (queue.chunk == nullptr) return;
  bytes_ -= queue.chunk->capacity;
  chunks_.release(*queue.chunk);
  queue.chunk = nullptr;
}

void Reassembly::remove(Queue& queue) noexcept {
  release_chunk(queue);
  queue.unlink();
  (void)index_.erase(queue.key);
  queues_.release(queue);
}

Instant Reassembly::first_deadline() const noexcept { return by_age_.front()->expires; }

std::uint32_t Reassembly::on_timeout(std::uint32_t limit, ReassemblyTimeouts& target) noexcept {
  std::uint32_t handled = 0;
  while (handled < limit) {
    Queue* oldest = by_age_.front();
    if (oldest == nullptr || oldest->expires > context_.now) break;
    ++handled;
    context_.drop(DropReason::fragment_timeout, oldest->interface);
    if (oldest->header_len != 0) {
      // The run of bytes from offset 0: what an ICMP error may quote.
      std::uint32_t quoted = 0;
      while (quoted < 8 && (oldest->map[0] >> quoted & 1U) != 0) ++quoted;
      const std::uint32_t bytes = std::min(quoted * kUnit, oldest->end);
      target.reassembly_timed_out({oldest->interface, oldest->key.source, oldest->key.destination,
                                   Bytes{oldest->header}.first(oldest->header_len),
                                   Bytes{oldest->chunk->data, bytes}});
    }
    remove(*oldest);
  }
  return handled;
}

}  // namespace tidewire::ip
