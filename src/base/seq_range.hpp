// A stretch of TCP sequence space.
#pragma once

#include <cstdint>

#include "base/seq.hpp"

namespace tidewire {

/// The octets [start, end): a SACK block, a run of sent data, an island of received data.
struct SeqRange {
  Seq start;
  Seq end;

  constexpr std::uint32_t size() const noexcept { return Seq::span(start, end); }
  constexpr bool empty() const noexcept { return start == end; }
  constexpr bool contains(Seq s) const noexcept { return s.in_window(start, size()); }
  friend constexpr bool operator==(const SeqRange&, const SeqRange&) noexcept = default;
};

}  // namespace tidewire
