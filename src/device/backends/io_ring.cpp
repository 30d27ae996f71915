#include "device/backends/io_ring.hpp"

#include <errno.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "device/backends/vnet_device.hpp"

namespace tidewire::device {
namespace {

/// A request that fails does not end the submission, and nobody is interrupted for a completion.
/// Neither is needed: kernels before 5.19 do without.
constexpr std::uint32_t kFlags = IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN;

OwnedFd setup_ring(std::uint32_t entries, io_uring_params& parameters) noexcept {
  for (const std::uint32_t flags : {kFlags, 0U}) {
    parameters = {};
    parameters.flags = flags;
    OwnedFd ring{static_cast<int>(syscall(SYS_io_uring_setup, entries, &parameters))};
    if (ring || errno != EINVAL) return ring;
  }
  return OwnedFd{};
}

int enter_ring(int ring, std::uint32_t submit, std::uint32_t complete) noexcept {
  return static_cast<int>(
      syscall(SYS_io_uring_enter, ring, submit, complete, IORING_ENTER_GETEVENTS, nullptr, 0));
}

Mapping map_ring(int ring, std::size_t size, std::uint64_t what) noexcept {
  void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring,
                  static_cast<off_t>(what));
  return at == MAP_FAILED ? Mapping{} : Mapping{at, size};
}

std::string no_ring(int error) {
  std::string text = "cannot use io_uring: " + error_text(error) + "; ";
  switch (error) {
    case ENOSYS:
      return text + "the kernel or a seccomp filter has none: leave --io-uring away";
    case EPERM:
    case EACCES:
      return text +
             "as root: sysctl -w kernel.io_uring_disabled=0, in a container allow it in the "
             "seccomp profile, or leave --io-uring away";
    case ENOMEM:
      return text + "raise the limit of locked memory (ulimit -l), or leave --io-uring away";
    default:
      return text + "leave --io-uring away";
  }
}

template <typename T>
T* at(const Mapping& mapping, std::uint32_t offset) noexcept {
  return reinterpret_cast<T*>(mapping.data() + offset);
}

}  // namespace

Result<IoRing, std::string> IoRing::open(int fd, std::uint32_t entries) {
  io_uring_params parameters;
  IoRing ring{setup_ring(entries, parameters)};
  if (!ring.ring_ || !ring.map(entries, parameters)) return fail(no_ring(errno));
  ring.fd_ = fd;
  return ring;
}

bool IoRing::map(std::uint32_t entries, const io_uring_params& parameters) noexcept {
  const io_sqring_offsets& sq = parameters.sq_off;
  const io_cqring_offsets& cq = parameters.cq_off;
  if ((parameters.features & IORING_FEAT_SINGLE_MMAP) == 0) {
    errno = ENOSYS;  // older than 5.4
    return false;
  }
  const std::size_t size = std::max(sq.array + parameters.sq_entries * sizeof(std::uint32_t),
                                    cq.cqes + parameters.cq_entries * sizeof(io_uring_cqe));
  queues_ = map_ring(ring_.get(), size, IORING_OFF_SQ_RING);
  request_memory_ =
      map_ring(ring_.get(), parameters.sq_entries * sizeof(io_uring_sqe), IORING_OFF_SQES);
  if (!queues_ || !request_memory_) return false;
  requests_ = at<io_uring_sqe>(request_memory_, 0);
  done_ = at<io_uring_cqe>(queues_, cq.cqes);
  submit_tail_ = at<std::uint32_t>(queues_, sq.tail);
  done_head_ = at<std::uint32_t>(queues_, cq.head);
  done_tail_ = at<std::uint32_t>(queues_, cq.tail);
  mask_ = *at<std::uint32_t>(queues_, sq.ring_mask);
  done_mask_ = *at<std::uint32_t>(queues_, cq.ring_mask);
  // Requests are submitted in the order of their places.
  for (std::uint32_t i = 0; i < entries; ++i) at<std::uint32_t>(queues_, sq.array)[i] = i;
  return true;
}

void IoRing::add_write(const iovec* pieces, std::uint32_t count, std::uint32_t tag) noexcept {
  io_uring_sqe& request = requests_[tail_++ & mask_];
  request = {};
  request.opcode = IORING_OP_WRITEV;
  // Not as a registered file: the kernel drops those a while after their ring has gone, and a TAP
  // device would seem to be in use for so long.
  request.fd = fd_;
  request.addr = reinterpret_cast<std::uintptr_t>(pieces);
  request.len = count;
  request.rw_flags =
      RWF_NOWAIT;  // or what finds no room waits in the kernel, whatever O_NONBLOCK says
  request.user_data = tag;
}

std::uint32_t IoRing::done_count() const noexcept {
  return std::atomic_ref{*done_tail_}.load(std::memory_order_acquire) - *done_head_;
}

std::uint32_t IoRing::submit() noexcept {
  const std::uint32_t first = submitted_;
  std::atomic_ref{*submit_tail_}.store(tail_, std::memory_order_release);
  while (submitted_ != tail_) {
    const std::uint32_t count = tail_ - submitted_;
    const int taken = enter_ring(ring_.get(), count, count);
    if (taken > 0) {
      submitted_ += static_cast<std::uint32_t>(taken);
    } else if (taken == 0 || errno != EINTR) {
      tail_ = submitted_;
      std::atomic_ref{*submit_tail_}.store(tail_, std::memory_order_release);
    }
  }
  // Where a signal cut the waiting short. Nothing may be under way after the return, whatever the
  // kernel says: the pieces are the caller's. Writes that may not wait are done at once.
  const std::uint32_t taken = submitted_ - first;
  while (done_count() < taken) {
    if (enter_ring(ring_.get(), 0, taken) < 0 && errno != EINTR) sched_yield();
  }
  return taken;
}

std::optional<IoRing::Done> IoRing::next_done() noexcept {
  if (done_count() == 0) return std::nullopt;
  const std::uint32_t head = *done_head_;
  const io_uring_cqe& entry = done_[head & done_mask_];
  const Done done{static_cast<std::uint32_t>(entry.user_data), entry.res};
  std::atomic_ref{*done_head_}.store(head + 1, std::memory_order_release);
  return done;
}

}  // namespace tidewire::device
