// Both ends of a lane of shared memory against another process that writes what it likes into it:
// positions, records and frames, also while frames are in use. Nothing outside the lane and the
// reader's own memory may be shown, metadata must fit the frame, and every call must end.
#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "device/backends/shm_ring.hpp"
#include "fuzz.hpp"
#include "input.hpp"

using namespace tidewire;
using namespace tidewire::device;

namespace {

constexpr std::size_t kCapacity = ShmMemory::kLeast;

/// One mapping for all runs.
const ShmLane& lane() {
  static const ShmMemory memory = [] {
    auto made = ShmMemory::create(kCapacity);
    fuzz::check(made.has_value());
    return std::move(*made);
  }();
  return memory.lane(0);
}

/// A position near the true one, or any.
std::uint64_t position(fuzz::Input& in, std::uint64_t near) {
  switch (in.below(8)) {
    case 0:
      return std::uint64_t{in.u32()} << 32 | in.u32();
    case 1:
      return near + in.u32();
    case 2:
      return near - in.u16();
    default:
      return near + std::uint64_t{in.u16()} * 64 % (kCapacity + 128);
  }
}

class Hostile {
 public:
  explicit Hostile(fuzz::Input& in)
      : in_(in), reader_(lane(), in.one_in(2) ? Medium::ip : Medium::ethernet), writer_(lane()) {
    lane().control->head = 0;
    lane().control->tail = 0;
    lane().control->reader_sleeps = 0;
    lane().control->writer_waits = 0;
  }

  void step() {
    switch (in_.below(7)) {
      case 0:
        head_ = position(in_, head_);
        lane().control->head = head_;
        break;
      case 1:
        write_record();
        break;
      case 2:
        read();
        break;
      case 3:
        (void)reader_.release();
        (void)reader_.sleep();
        break;
      case 4:
        scribble();
        break;
      case 5:
        lane().control->tail = position(in_, tail_);
        lane().control->writer_waits = in_.u8();
        break;
      default:
        push();
    }
  }

 private:
  /// A record where the reader will look if it goes on, perhaps with lies in it.
  void write_record() {
    std::byte* at = lane().data + (head_ & (kCapacity - 1)) / 64 * 64;
    ShmRecord record;
    const std::uint32_t size = in_.below(300);
    record.length = in_.one_in(4) ? in_.u32() : size;
    record.vnet.flags = in_.u8();
    record.vnet.gso_type = in_.u8();
    record.vnet.gso_size = in_.u16();
    record.vnet.checksum_start = in_.below(64) & 0xffff;
    record.vnet.checksum_offset = in_.below(20) & 0xffff;
    std::memcpy(at, &record, sizeof record);
    for (std::uint32_t i = 0; i < size; ++i) at[sizeof record + i] = std::byte{in_.u8()};
    if (in_.one_in(4)) return;
    head_ += shm_record_size(record.length);
    lane().control->head = head_;
  }

  void scribble() {
    const std::uint32_t from = in_.below(kCapacity);
    const std::uint32_t size = std::min<std::uint32_t>(in_.u16(), kCapacity - from);
    std::memset(lane().data + from, in_.u8(), size);
  }

  void read() {
    const auto frames = reader_.read(Instant::from_nanos(1), 1 + in_.below(80));
    std::size_t total = 0;
    for (const RxFrame& frame : frames) {
      fuzz::check(frame.size() != 0 && frame.size() <= kShmGreatest && !frame.head.empty());
      fuzz::check(frame.more[1].empty() && frame.more[2].empty());
      const Bytes rest = frame.more[0];
      if (!rest.empty()) {
        fuzz::check(rest.data() >= lane().data &&
                    rest.data() + rest.size() <= lane().data + 2 * kCapacity);
        fuzz::check(rest.size() < kCapacity);
      }
      fuzz::check(frame.segs >= 1 && (frame.segs == 1) == (frame.seg_size == 0));
      fuzz::check(std::size_t{frame.segs} * frame.seg_size < frame.size() + frame.seg_size);
      for (const Bytes part : {frame.head, rest}) {
        if (!part.empty()) touched_ += std::to_integer<unsigned>(part.front() ^ part.back());
      }
      total += shm_record_size(frame.size());
    }
    fuzz::check(total <= kCapacity / 2);
    fuzz::check(!reader_.broken() || frames.size() <= 80);
  }

  void push() {
    const std::vector<std::byte> bytes(1 + in_.below(in_.one_in(4) ? kShmGreatest : 3000));
    TxFrame frame;
    frame.headers = bytes;
    const std::size_t before = writer_.unpublished();
    const bool taken = writer_.push(frame) == PushResult::taken;
    fuzz::check(writer_.unpublished() == before + (taken ? shm_record_size(bytes.size()) : 0));
    fuzz::check(writer_.unpublished() <= kCapacity);
    if (in_.one_in(2)) (void)writer_.publish();
    if (!taken) (void)writer_.wait_for_room();
    tail_ += taken ? shm_record_size(bytes.size()) : 0;
  }

  fuzz::Input& in_;
  ShmReader reader_;
  ShmWriter writer_;
  std::uint64_t head_ = 0;
  std::uint64_t tail_ = 0;
  unsigned touched_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input in(data, size);
  Hostile other(in);
  for (int i = 0; i < 200 && !in.empty(); ++i) other.step();
  return 0;
}
