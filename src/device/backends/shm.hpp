// A link between two processes of this host through shared memory.
#pragma once

#include <memory>
#include <string>

#include "base/result.hpp"
#include "base/time.hpp"
#include "device/device.hpp"

namespace tidewire::device {

struct ShmOptions {
  std::string path;          ///< of the socket where the two meet, mode 0600
  bool offloads = true;      ///< send super-segments and pending checksums; they arrive in any case
  std::uint32_t mtu = 1500;  ///< bytes of an IP packet; the side that listens decides for both
  std::size_t capacity = std::size_t{1} << 20;  ///< bytes in flight each way; likewise
  /// How long to look into the memory again and again before asking to be woken; an eighth of it
  /// after a sleep of ten times this. With less than the other side needs to wake up and answer,
  /// two that take turns never stay awake (bench/shm_bench: 50 us are not always enough).
  Duration spin = Duration::micros(100);
};

struct ShmCounters {
  std::uint64_t frames_in = 0, frames_out = 0;
  std::uint64_t bad_metadata = 0;  ///< received frames whose record contradicts them
  std::uint64_t too_long = 0;      ///< pushed frames that no record holds; they are lost
  std::uint64_t lost = 0;          ///< pushed while nobody was at the other end
  std::uint64_t broken = 0;        ///< peers cut off because their positions or lengths were wrong
  std::uint64_t peers = 0;         ///< that came
  std::uint64_t refused = 0;       ///< processes sent away because another one has the link
  std::uint64_t wakes_out = 0, wakes_in = 0;
};

/// IP packets without link headers (Medium::ip). Whoever opens `path` first listens there and makes
/// the memory; the second connects. The link is up while both are there: it goes down when the
/// other process ends or breaks the rules, and up again when one comes (back) to that path.
///
/// Only processes of the same user (or root) can connect. The other side is trusted with checksums,
/// not with memory: whatever it writes, nothing outside the lanes is touched.
class Shm : public Device {
 public:
  virtual const ShmCounters& counters() const noexcept = 0;
  virtual bool listens() const noexcept = 0;
};

/// Waits up to two seconds for the answer of the process that listens, if there is one. The error
/// is one line that says why and what to do.
Result<std::unique_ptr<Shm>, std::string> open_shm(const ShmOptions& options);

}  // namespace tidewire::device
