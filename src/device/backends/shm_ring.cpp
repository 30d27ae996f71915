#include "device/backends/shm_ring.hpp"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

#include "device/wrap/materialise.hpp"
#include "device/wrap/rx_split.hpp"

namespace tidewire::device {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kControls = 2 * kPage;
constexpr unsigned kSeals = F_SEAL_SHRINK | F_SEAL_GROW;
constexpr std::size_t kCopied = 192;  // link, network and TCP headers, with all TCP options
constexpr std::size_t kArena = std::size_t{1} << 20;
constexpr std::uint8_t kTcp = 6;

using Words = std::array<std::uint64_t, sizeof(ShmRecord) / 8>;

constexpr std::size_t whole_size(std::size_t capacity) noexcept { return kControls + 2 * capacity; }

bool is_capacity(std::size_t capacity) noexcept {
  return std::has_single_bit(capacity) && capacity >= ShmMemory::kLeast &&
         capacity <= ShmMemory::kMost;
}

std::string cannot(const char* what) {
  return "cannot " + std::string(what) + " shared memory: " + error_text(errno);
}

}  // namespace

Result<ShmMemory, std::string> ShmMemory::create(std::size_t capacity) {
  if (!is_capacity(capacity)) return fail(std::string("a lane of shared memory has that size not"));
  OwnedFd fd{memfd_create("tidewire-shm", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  if (!fd) return fail(cannot("make"));
  // Reserved now: a page that is missing later would be a signal, not an error.
  if (const int error = posix_fallocate(fd.get(), 0, static_cast<off_t>(whole_size(capacity)));
      error != 0) {
    errno = error;
    return fail(cannot("reserve"));
  }
  if (fcntl(fd.get(), F_ADD_SEALS, kSeals | F_SEAL_SEAL) != 0) return fail(cannot("seal"));
  return map(std::move(fd), capacity);
}

Result<ShmMemory, std::string> ShmMemory::open(OwnedFd fd, std::size_t capacity) {
  struct stat about{};
  const int seals = fcntl(fd.get(), F_GET_SEALS);
  if (!is_capacity(capacity) || fstat(fd.get(), &about) != 0 ||
      about.st_size != static_cast<off_t>(whole_size(capacity))) {
    return fail(std::string("the shared memory has not the size that was told"));
  }
  if (seals < 0 || (static_cast<unsigned>(seals) & kSeals) != kSeals) {
    return fail(std::string("the shared memory is not sealed: it could be cut off under us"));
  }
  return map(std::move(fd), capacity);
}

Result<ShmMemory, std::string> ShmMemory::map(OwnedFd fd, std::size_t capacity) {
  ShmMemory memory(std::move(fd));
  memory.mapped_ = kControls + 4 * capacity;
  void* base = mmap(nullptr, memory.mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return fail(cannot("find addresses for"));
  memory.base_ = base;
  auto* at = static_cast<std::byte*>(base);
  const auto place = [&](std::size_t size, std::size_t offset) {
    void* there = mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE,
                       memory.fd_.get(), static_cast<off_t>(offset));
    at += size;
    return there != MAP_FAILED;
  };
  bool placed = place(kControls, 0);
  for (std::size_t i = 0; i < 2; ++i) {
    auto* control = reinterpret_cast<ShmControl*>(static_cast<std::byte*>(base) + i * kPage);
    memory.lanes_[i] = {control, at, capacity};
    const std::size_t offset = kControls + i * capacity;
    placed = placed && place(capacity, offset) && place(capacity, offset);
  }
  if (!placed) return fail(cannot("map"));
  return memory;
}

ShmMemory::ShmMemory(ShmMemory&& other) noexcept
    : fd_(std::move(other.fd_)),
      base_(std::exchange(other.base_, nullptr)),
      mapped_(other.mapped_),
      lanes_(other.lanes_) {}

ShmMemory& ShmMemory::operator=(ShmMemory&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(base_, other.base_);
  std::swap(mapped_, other.mapped_);
  std::swap(lanes_, other.lanes_);
  return *this;
}

ShmMemory::~ShmMemory() {
  if (base_ != nullptr) munmap(base_, mapped_);
}

std::size_t ShmWriter::room() noexcept {
  return lane_.capacity - static_cast<std::size_t>(head_ - tail_);
}

PushResult ShmWriter::push(const TxFrame& frame) noexcept {
  const std::size_t length = frame.size();
  if (length == 0 || length > kShmGreatest) {
    ++too_long_;
    return PushResult::taken;
  }
  const std::size_t size = shm_record_size(length);
  if (room() < size && !has_room()) return PushResult::full;
  std::byte* at = lane_.data + (head_ & (lane_.capacity - 1));
  const ShmRecord record{static_cast<std::uint32_t>(length), vnet_header(frame)};
  std::memcpy(at, &record, sizeof record);
  gather(frame, {at + sizeof record, length});
  head_ += size;
  return PushResult::taken;
}

bool ShmWriter::publish() noexcept {
  if (shown_ == head_) return false;
  shown_ = head_;
  lane_.control->head.store(head_, std::memory_order_release);
  // The record before the question whether the reader sleeps: sleep() does it the other way round.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return lane_.control->reader_sleeps.load(std::memory_order_relaxed) != 0 &&
         lane_.control->reader_sleeps.exchange(0, std::memory_order_relaxed) != 0;
}

bool ShmWriter::has_room() noexcept {
  const std::uint64_t tail = lane_.control->tail.load(std::memory_order_acquire);
  // Between what was seen before and what was shown, on a record's edge.
  if (tail - tail_ > shown_ - tail_ || tail % 64 != 0) broken_ = true;
  if (broken_) return false;
  tail_ = tail;
  return room() >= shm_record_size(kShmGreatest);
}

bool ShmWriter::wait_for_room() noexcept {
  lane_.control->writer_waits.store(1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!has_room()) return false;
  lane_.control->writer_waits.store(0, std::memory_order_relaxed);
  return true;
}

ShmReader::ShmReader(const ShmLane& lane, Medium medium)
    : lane_(lane), medium_(medium), arena_(kArena) {}

bool ShmReader::see_head() noexcept {
  if (next_ != head_) return true;
  const std::uint64_t head = lane_.control->head.load(std::memory_order_acquire);
  if (head - released_ > lane_.capacity || head - released_ < next_ - released_ || head % 64 != 0) {
    broken_ = true;
    return false;
  }
  head_ = head;
  return next_ != head_;
}

bool ShmReader::take(Instant now) noexcept {
  const std::byte* at = lane_.data + (next_ & (lane_.capacity - 1));
  // Loaded once, in words that the compiler does not load again.
  Words words;
  for (std::size_t i = 0; i < words.size(); ++i) {
    auto* word = reinterpret_cast<std::uint64_t*>(const_cast<std::byte*>(at)) + i;
    words[i] = std::atomic_ref<std::uint64_t>(*word).load(std::memory_order_relaxed);
  }
  const auto record = std::bit_cast<ShmRecord>(words);
  const std::size_t length = record.length;
  if (length == 0 || length > kShmGreatest || shm_record_size(length) > head_ - next_) {
    broken_ = true;
    return false;
  }
  const Bytes shared{at + sizeof(ShmRecord), length};
  const MutBytes own = MutBytes{arena_}.subspan(used_);
  std::size_t copied = std::min(length, kCopied);
  std::copy_n(shared.begin(), copied, own.begin());
  RxFrame frame;
  frame.ingress = now;
  const auto layers = find_layers(own.first(copied), medium_);
  if (copied < length && (!layers || layers->protocol != kTcp)) {
    std::copy_n(shared.begin() + static_cast<std::ptrdiff_t>(copied), length - copied,
                own.begin() + static_cast<std::ptrdiff_t>(copied));
    copied = length;
  }
  frame.head = own.first(copied);
  if (copied < length) frame.more[0] = shared.subspan(copied);
  used_ += (copied + 63) / 64 * 64;
  next_ += shm_record_size(length);
  if (!apply_vnet_header(record.vnet, medium_, frame)) ++bad_metadata_;
  frames_.push_back(frame);
  return true;
}

std::span<const RxFrame> ShmReader::read(Instant now, std::size_t limit) noexcept {
  frames_.clear();
  used_ = 0;
  const std::uint64_t enough = next_ + lane_.capacity / 4;
  while (!broken_ && frames_.size() < limit && used_ + kShmGreatest <= arena_.size() &&
         next_ < enough && see_head()) {
    if (!take(now)) break;
  }
  return frames_;
}

bool ShmReader::release() noexcept {
  if (next_ == released_ || broken_) return false;
  released_ = next_;
  lane_.control->tail.store(next_, std::memory_order_release);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (lane_.control->writer_waits.load(std::memory_order_relaxed) == 0) return false;
  // Woken once there is something to be woken for, and at the latest when all was read.
  const std::uint64_t head = lane_.control->head.load(std::memory_order_relaxed);
  if (head - next_ > lane_.capacity / 2) return false;
  return lane_.control->writer_waits.exchange(0, std::memory_order_relaxed) != 0;
}

bool ShmReader::sleep() noexcept {
  lane_.control->reader_sleeps.store(1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!see_head() && !broken_) return false;
  stay_awake();
  return true;
}

void ShmReader::stay_awake() noexcept {
  lane_.control->reader_sleeps.store(0, std::memory_order_relaxed);
}

}  // namespace tidewire::device
