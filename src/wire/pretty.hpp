// One line per frame, much as tcpdump writes it. For people, logs and test output; allocates.
#pragma once

#include <string>

#include "base/bytes.hpp"
#include "wire/frame.hpp"

namespace tidewire::wire {

/// Describes a frame, for example "IP 10.0.2.15.40000 > 10.0.2.2.80: Flags [S], seq 1, win 64240,
/// options [mss 1460], length 0". Never fails: of malformed input it prints what can be read and
/// says what is wrong. Sequence numbers are absolute. A transport checksum that does not verify is
/// reported; one that only holds the pseudo-header sum is called pending.
std::string pretty(Medium medium, Bytes frame);

}  // namespace tidewire::wire
