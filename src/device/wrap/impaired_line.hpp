// One direction of a simulated or impaired link: takes frames, gives them back when they arrive.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "device/wrap/arrival_queue.hpp"
#include "device/wrap/frame_store.hpp"
#include "device/wrap/impairment.hpp"
#include "wire/frame.hpp"

namespace tidewire::device {

/// Carries wire packets through an Impairment. A line that does not impair also carries
/// super-segments whole, if told to.
class ImpairedLine {
 public:
  struct Options {
    Medium medium = Medium::ethernet;
    LinkSpec spec;
    Direction direction = Direction::up;
    RandomSeed seed;
    Instant origin;
    bool offload = false;  ///< carry super-segments and pending checksums as they are
    /// Refer to payload that stays (TxFrame::payload_stays) until settle().
    bool lend = false;
  };

  /// `pool`, `flows` and `observer` (may be null) outlive the line.
  ImpairedLine(const Options& options, FramePool& pool, FlowTable& flows, ImpactObserver* observer);
  ImpairedLine(const ImpairedLine&) = delete;
  ImpairedLine& operator=(const ImpairedLine&) = delete;
  ~ImpairedLine();

  void set_observer(ImpactObserver* observer) noexcept { observer_ = observer; }
  /// Tells the time; it never runs backwards.
  void advance(Instant now);
  /// Copies the frame, cut into wire packets with complete checksums. Full only in a device-full
  /// window.
  PushResult push(const TxFrame& frame);
  /// Takes one frame that another device received, as it is.
  void push(const RxFrame& frame);
  /// Bytes of frames that have not been received and lie with their sender.
  std::size_t lent() const noexcept { return lent_bytes_; }
  /// Copies what lies with its sender. What was received of it before is not valid any more.
  void settle() noexcept;
  Duration queue_delay(Instant now) const noexcept { return impairment_.queue_delay(now); }
  /// See Impairment::set_spec. A line that was made to carry super-segments whole cuts them while
  /// it impairs.
  void set_spec(const LinkSpec& spec);
  /// See Impairment::set_path.
  void set_path(Duration delay, std::uint64_t rate_bps) noexcept {
    impairment_.set_path(delay, rate_bps);
  }
  bool writable() const noexcept { return impairment_.full_until(now_) == now_; }

  /// What has arrived by the time told last, at most `limit`; valid until the next call.
  std::span<const RxFrame> receive(std::size_t limit);
  /// When the next frame arrives.
  Instant next_arrival() const noexcept;
  /// Once push() said full: when there is room again. Else never().
  Instant next_room() const noexcept;
  Medium medium() const noexcept { return options_.medium; }
  bool empty() const noexcept { return queue_.empty() && held_.empty() && parked_.empty(); }
  const LinkCounters& counters() const noexcept { return counters_; }

 private:
  struct Entry {
    Instant release;
    std::uint64_t sequence = 0;
    FrameBuffer buffer;
    std::uint16_t seg_size = 0;
    std::uint16_t segs = 1;
    ChecksumState checksum = ChecksumState::unknown;
    std::uint64_t loan = 0;  ///< its number in `loans_`, from 1; 0: all of it is in `buffer`
  };
  /// What of a frame lies with its sender; `buffer` has room for it behind the headers.
  struct Loan {
    FrameBuffer buffer;
    std::uint32_t headers = 0;
    std::array<Bytes, 3> payload;  ///< none before the last is empty
  };
  struct Held {
    Entry entry;
    std::uint32_t overtaken_by = 0;
    Instant latest;  ///< when it goes on even if nothing overtakes it
  };

  /// In a queue that decides when it leaves; the impairment has its fate.
  struct Parked {
    FrameBuffer buffer;  ///< empty: it is already known to be lost, but takes its room
    ChecksumState checksum = ChecksumState::unknown;
    std::uint8_t network_offset = 0;
  };

  void push_whole(const TxFrame& frame);
  bool lend(const TxFrame& frame, Entry& entry);
  void offer(FrameBuffer buffer, ChecksumState checksum);
  void drain_queue();
  void carry(const Parked& packet, const Fate& fate);
  void report(Impact impact, const Fate& fate, Bytes frame);
  void deliver(const Entry& entry);
  void copy_of(Entry entry);
  void overtake(Instant release);
  void release_held();
  void release_lent() noexcept;

  Options options_;
  FramePool& pool_;
  ImpactObserver* observer_;
  Impairment impairment_;
  LinkCounters counters_;
  ArrivalQueue<Entry> queue_;  ///< by release, then by order of arrival
  RingQueue<Loan> loans_;      ///< in the order in which they are received
  std::uint64_t last_loan_ = 0;
  std::uint64_t settled_loan_ = 0;  ///< this one and those before it are no loans any more
  std::size_t lent_bytes_ = 0;
  std::vector<Held> held_;
  RingQueue<Parked> parked_;
  std::vector<FrameBuffer> lent_;  ///< out with the caller of receive()
  std::vector<RxFrame> frames_;
  Instant now_ = Instant::from_nanos(INT64_MIN);
  bool whole_ = false;  ///< super-segments are carried as they are now
  bool said_full_ = false;
};

}  // namespace tidewire::device
