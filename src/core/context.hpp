// What every protocol machine of one stack shares: configuration, time, memory, counters, events.
#pragma once

#include "base/memory.hpp"
#include "base/random.hpp"
#include "base/time.hpp"
#include "core/config.hpp"
#include "core/counters.hpp"
#include "core/events.hpp"
#include "core/trace.hpp"

namespace tidewire {

/// One per Stack, owned by it; protocol machines hold a reference. `now` is set at the start of
/// every call into the stack and only moves forward.
struct Context {
  const StackConfig& config;
  MemoryProvider& memory;
  RandomSeed seed;  ///< derive() from it with the purposes below
  Rng rng;
  EventQueue& events;
  Counters counters;
  TraceRing* trace = nullptr;
  Instant now;

  void drop(DropReason reason, InterfaceId interface = kNoInterface) noexcept {
    counters.drop(reason);
    if (trace != nullptr) [[unlikely]] {
      TraceRecord record;
      record.at = now;
      record.kind = TraceKind::drop;
      record.reason = reason;
      record.interface = interface;
      trace->record(record);
    }
  }
};

/// Purposes for derive(): one key each, so that no two uses of the seed correlate.
enum class SeedPurpose : std::uint64_t {
  rng = 1,
  tuple_secret,  ///< ISN and timestamp offset
  ephemeral_port,
  flow_table,
  ip_identification = 6,
  neighbor_table,
  path_mtu_table,
  socket_table,
  reassembly_table,
  port_table,
  ephemeral_bind,
  syn_cookie,
  fast_open_key,
  fast_open_table,
};

}  // namespace tidewire
