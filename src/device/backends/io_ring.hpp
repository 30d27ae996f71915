// Writes to one descriptor that go to the kernel together (io_uring).
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.hpp"
#include "device/backends/owned.hpp"

struct io_uring_cqe;
struct io_uring_params;
struct io_uring_sqe;

namespace tidewire::device {

/// One system call for many writes, none of which waits: each is done, or refused, before submit()
/// returns. The descriptor is of a kind that can (RWF_NOWAIT). One thread uses it.
class IoRing {
 public:
  struct Done {
    std::uint32_t tag;
    std::int32_t result;  ///< bytes, or minus an errno value
  };

  /// A ring for at most `entries` writes (a power of two) to `fd`, which outlives it. An error is
  /// one line that says why and what to do.
  static Result<IoRing, std::string> open(int fd, std::uint32_t entries);

  /// Adds a write of gathered pieces; they stay until submit() returns. At most `entries` of them.
  void add_write(const iovec* pieces, std::uint32_t count, std::uint32_t tag) noexcept;
  /// Has what was added done, in its order. How many of them the kernel took: the rest is forgotten
  /// and the caller's again.
  std::uint32_t submit() noexcept;
  /// The next result of what was taken.
  std::optional<Done> next_done() noexcept;

 private:
  explicit IoRing(OwnedFd ring) noexcept : ring_(std::move(ring)) {}
  bool map(std::uint32_t entries, const io_uring_params& parameters) noexcept;
  std::uint32_t done_count() const noexcept;

  OwnedFd ring_;
  int fd_ = -1;
  Mapping queues_;
  Mapping request_memory_;
  io_uring_sqe* requests_ = nullptr;
  io_uring_cqe* done_ = nullptr;
  std::uint32_t* submit_tail_ = nullptr;
  std::uint32_t* done_head_ = nullptr;
  std::uint32_t* done_tail_ = nullptr;
  std::uint32_t mask_ = 0;
  std::uint32_t done_mask_ = 0;
  std::uint32_t tail_ = 0;       ///< after the last request that was added
  std::uint32_t submitted_ = 0;  ///< after the last one that the kernel took
};

}  // namespace tidewire::device
