// What the processes of a soak share: a page of memory made before they are forked.
#pragma once

#include <sys/mman.h>
#include <sys/types.h>
#include <time.h>

#include <array>
#include <atomic>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace soak {

inline constexpr int kServers = 24;
inline constexpr int kClients = 24;
inline constexpr int kKeepers = 2;  // never killed: the two ends of the connections that survive
inline constexpr int kSlots = kServers + kClients + kKeepers;
inline constexpr int kListeners = 6;

enum class Phase : int { churn, quiet, over };

/// One process, and those that took its place after it was killed.
struct Slot {
  std::atomic<pid_t> pid;
  std::atomic<std::uint32_t> life;       ///< how many there were before
  std::atomic<std::uint32_t> killed;     ///< lives that were ended: all below this number
  std::atomic<std::int64_t> busy_since;  ///< milliseconds; 0: waits for work
  std::atomic<const char*> doing;        ///< the last step, for hangs
};

struct Shared {
  std::atomic<Phase> phase;
  std::atomic<std::uint64_t> tickets;          ///< connections begun
  std::atomic<std::uint64_t> finished;         ///< of these, verified to the last byte
  std::atomic<std::uint64_t> broken;           ///< ended early because the other end was killed
  std::atomic<std::uint64_t> problems;         ///< ended early for no reason, or with wrong bytes
  std::atomic<std::uint64_t> interrupted;      ///< calls that failed with EINTR where they may
  std::atomic<std::uint64_t> kept_bytes;       ///< verified on the connections that survive
  std::atomic<std::int64_t> server_killed_at;  ///< milliseconds
  std::array<char, 256> problem;               ///< the first one
  std::array<Slot, kSlots> slots;
};

inline std::int64_t milliseconds() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

inline Shared& make_shared_page() {
  void* page =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) {
    std::perror("soak: mmap");
    std::exit(2);
  }
  return *new (page) Shared{};
}

/// Counts a problem; the first one is kept in words.
[[gnu::format(printf, 2, 3)]] inline void report(Shared& shared, const char* format, ...) {
  if (shared.problems.fetch_add(1) != 0) return;
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(shared.problem.data(), shared.problem.size(), format, arguments);
  va_end(arguments);
}

}  // namespace soak
