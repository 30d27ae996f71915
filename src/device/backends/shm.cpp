#include "device/backends/shm.hpp"

#include <sched.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "device/backends/shm_meeting.hpp"
#include "device/backends/shm_ring.hpp"

namespace tidewire::device {
namespace {

constexpr Medium kMedium = Medium::ip;
constexpr int kGreetingMillis = 2000;
constexpr Duration kLookEvery = Duration::millis(10);    // at the socket, while frames flow
constexpr Duration kSeekEvery = Duration::millis(100);   // for another peer
constexpr Duration kSleepAtMost = Duration::millis(50);  // a wake-up may go astray
constexpr std::size_t kPublishBytes = 16 << 10;          // and earlier at the end of a turn

std::uint32_t our_place() noexcept { return static_cast<std::uint32_t>(sched_getcpu()) + 1; }

/// What lasts as long as one process is at the other end.
struct Peer {
  Peer(OwnedFd s, ShmMemory m, std::size_t write_lane)
      : socket(std::move(s)),
        memory(std::move(m)),
        writer(memory.lane(write_lane)),
        reader(memory.lane(1 - write_lane), kMedium) {}

  OwnedFd socket;
  ShmMemory memory;
  ShmWriter writer;
  ShmReader reader;
};

class ShmLink final : public Shm {
 public:
  ShmLink(const ShmOptions& options, OwnedFd listener, OwnedFd epoll)
      : options_(options),
        name_("shm:" + options.path),
        epoll_(std::move(epoll)),
        listener_(std::move(listener)),
        patience_(options.spin) {
    struct stat about{};
    if (!listener_ || stat(options_.path.c_str(), &about) != 0) return;
    inode_ = about.st_ino;
    watch(listener_);
  }
  ~ShmLink() override {
    flush();
    struct stat about{};
    if (listener_ && stat(options_.path.c_str(), &about) == 0 && about.st_ino == inode_) {
      unlink(options_.path.c_str());
    }
  }

  std::string_view name() const noexcept override { return name_; }
  Capabilities capabilities() const noexcept override {
    Capabilities can;
    can.medium = kMedium;
    can.mtu = options_.mtu;
    can.tx_checksum = can.tx_segmentation = can.tx_udp_segmentation = options_.offloads;
    can.rx_trusted = true;
    return can;
  }
  int descriptor() const noexcept override { return epoll_.get(); }
  bool link_up() const noexcept override { return peer_.has_value(); }
  const ShmCounters& counters() const noexcept override { return counters_; }
  bool listens() const noexcept override { return static_cast<bool>(listener_); }

  void advance(Instant now) noexcept override { now_ = later(now_, now); }
  PushResult push(const TxFrame& frame) noexcept override;
  void flush() noexcept override;
  std::span<const RxFrame> receive(Instant now, std::size_t limit) noexcept override;
  bool writable() noexcept override;
  Instant next_deadline() noexcept override;

  /// Takes a greeting for what it is; an objection as one line.
  Result<void, std::string> join(OwnedFd socket, ShmGreeting greeting);

 private:
  void watch(const OwnedFd& fd) noexcept {
    epoll_event wanted{.events = EPOLLIN, .data = {}};
    epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd.get(), &wanted);
  }
  void meet(OwnedFd socket, ShmMemory memory);
  void part(bool broke_rules) noexcept;
  void look() noexcept;
  void accept_next() noexcept;
  void seek() noexcept;
  void rest() noexcept;
  /// Not at all while the other side waits for this very processor.
  Duration spin() const noexcept {
    return peer_->reader.writer_place() == our_place() ? Duration::zero() : patience_;
  }
  void wake() noexcept {
    ++counters_.wakes_out;
    shm_wake(peer_->socket.get());
  }

  ShmOptions options_;
  std::string name_;
  OwnedFd epoll_;
  OwnedFd listener_;
  ino_t inode_ = 0;
  OwnedFd greeting_;  ///< of a process that has not said hello yet
  std::optional<Peer> peer_;
  ShmCounters counters_;
  Instant now_;
  Instant next_look_;
  Instant busy_at_;          ///< when a frame last came or went, or we woke
  Instant look_again_;       ///< though nobody woke us
  Instant slept_at_;         ///< when we last asked to be woken
  Duration patience_;        ///< how long to look again at most
  bool asleep_ = false;      ///< asked to be woken by a frame
  bool blocked_ = false;     ///< said full
  bool room_asked_ = false;  ///< asked to be woken by room
};

void ShmLink::meet(OwnedFd socket, ShmMemory memory) {
  part(false);
  peer_.emplace(std::move(socket), std::move(memory), listens() ? 0 : 1);
  watch(peer_->socket);
  ++counters_.peers;
  busy_at_ = now_;
  asleep_ = blocked_ = room_asked_ = false;
}

void ShmLink::part(bool broke_rules) noexcept {
  if (broke_rules) ++counters_.broken;
  // Closing the socket takes it out of epoll. Spans lent to the stack are no longer in use: this
  // runs before a receive() reads.
  peer_.reset();
}

Result<void, std::string> ShmLink::join(OwnedFd socket, ShmGreeting greeting) {
  const std::string objection = shm_objection(options_.path, greeting.hello);
  if (!objection.empty()) return fail(objection);
  auto memory = ShmMemory::open(std::move(greeting.memory),
                                static_cast<std::size_t>(greeting.hello.capacity));
  if (!memory) return fail("the process at " + options_.path + ": " + memory.error());
  options_.mtu = greeting.hello.mtu;
  meet(std::move(socket), std::move(*memory));
  return {};
}

PushResult ShmLink::push(const TxFrame& frame) noexcept {
  if (!peer_) {
    ++counters_.lost;
    return PushResult::taken;
  }
  ShmWriter& writer = peer_->writer;
  if (writer.push(frame) == PushResult::full) {
    flush();
    blocked_ = true;
    return PushResult::full;
  }
  ++counters_.frames_out;
  if (writer.unpublished() >= kPublishBytes) flush();
  return PushResult::taken;
}

void ShmLink::flush() noexcept {
  if (!peer_) return;
  if (peer_->writer.unpublished() != 0) {
    busy_at_ = now_;
    peer_->writer.tell_place(our_place());
  }
  if (peer_->writer.publish()) wake();
  counters_.too_long = peer_->writer.too_long();
}

bool ShmLink::writable() noexcept {
  if (!peer_ || !blocked_) return true;
  ShmWriter& writer = peer_->writer;
  bool room = writer.has_room();
  if (!room && now_ >= busy_at_ + spin()) {
    room = writer.wait_for_room();
    room_asked_ = !room;
  }
  if (writer.broken()) return false;  // the next receive() sees to it
  if (!room) return false;
  blocked_ = room_asked_ = false;
  return true;
}

std::span<const RxFrame> ShmLink::receive(Instant now, std::size_t limit) noexcept {
  advance(now);
  flush();
  if (peer_ && peer_->reader.release()) wake();
  const bool alone = !peer_;
  if (asleep_ || now_ >= next_look_) look();
  // Who just came may have sent something: first the stack is told that the link is up.
  if (!peer_ || alone) return {};
  if (peer_->writer.broken() || peer_->reader.broken()) {
    part(true);
    return {};
  }
  std::span<const RxFrame> frames = peer_->reader.read(now_, limit);
  if (frames.empty()) {
    rest();
    return frames;
  }
  if (asleep_) {
    peer_->reader.stay_awake();
    asleep_ = false;
    // What comes so seldom is not waited for like that.
    patience_ = now_ - slept_at_ < options_.spin * 10 ? options_.spin : options_.spin / 8;
  }
  busy_at_ = now_;
  counters_.frames_in += frames.size();
  counters_.bad_metadata += peer_->reader.bad_metadata() - counters_.bad_metadata;
  return frames;
}

/// Nothing came: looks again for a while, then asks to be woken.
void ShmLink::rest() noexcept {
  if (!asleep_ && now_ < busy_at_ + spin()) return;
  // It came in this moment: the next turn takes it. A sleeper asks again each time it looks.
  const bool was_asleep = std::exchange(asleep_, !peer_->reader.sleep());
  if (!was_asleep) slept_at_ = now_;
  look_again_ = now_ + kSleepAtMost;
}

void ShmLink::look() noexcept {
  next_look_ = now_ + (peer_ ? kLookEvery : kSeekEvery);
  if (peer_) {
    bool woken = false;
    if (!shm_take_wakes(peer_->socket.get(), woken)) {
      part(false);
    } else if (woken) {
      ++counters_.wakes_in;
      room_asked_ = false;
    }
  }
  if (listens()) {
    accept_next();
  } else if (!peer_) {
    seek();
  }
}

void ShmLink::accept_next() noexcept {
  OwnedFd socket = shm_accept(listener_.get());
  if (!socket) return;
  ShmHello hello;
  hello.mtu = options_.mtu;
  hello.capacity = options_.capacity;
  if (peer_) {
    ++counters_.refused;
    hello.welcome = ShmWelcome::taken;
    (void)shm_send_hello(socket.get(), hello, -1);
    return;
  }
  // New memory for everyone who comes: the last one may still have the old.
  auto memory = ShmMemory::create(options_.capacity);
  hello.welcome = memory ? ShmWelcome::yes : ShmWelcome::failed;
  if (shm_send_hello(socket.get(), hello, memory ? memory->fd() : -1) && memory) {
    meet(std::move(socket), std::move(*memory));
  }
}

/// Whoever listened is gone; another may have come to its place.
void ShmLink::seek() noexcept {
  if (!greeting_) greeting_ = shm_connect(options_.path);
  if (!greeting_) return;
  auto greeting = shm_receive_hello(greeting_.get(), 0);
  if (!greeting && greeting.error() == ShmNoGreeting::not_yet) return;
  OwnedFd socket = std::exchange(greeting_, OwnedFd{});
  if (greeting) (void)join(std::move(socket), std::move(*greeting));
}

Instant ShmLink::next_deadline() noexcept {
  flush();
  if (!peer_) return next_look_;
  if (peer_->reader.has_unreleased() || !asleep_ || (blocked_ && !room_asked_)) return now_;
  return look_again_;
}

std::string no_greeting(const std::string& path, ShmNoGreeting why) {
  if (why == ShmNoGreeting::not_ours) {
    return "the process that listens at " + path +
           " is no tidewire with a shm link; choose another path";
  }
  return "somebody listens at " + path +
         " but gives no answer within two seconds; end that process or choose another path";
}

}  // namespace

Result<std::unique_ptr<Shm>, std::string> open_shm(const ShmOptions& options) {
  constexpr int kTries = 5;
  ShmNoGreeting why = ShmNoGreeting::gone;
  for (int i = 0; i < kTries; ++i) {
    auto place = shm_meet(options.path);
    if (!place) return fail(place.error());
    OwnedFd epoll{epoll_create1(EPOLL_CLOEXEC)};
    if (!epoll) return fail("cannot wait for " + options.path + ": " + error_text(errno));
    auto link = std::make_unique<ShmLink>(options, std::move(place->listener), std::move(epoll));
    if (!place->peer) return link;
    auto greeting = shm_receive_hello(place->peer.get(), kGreetingMillis);
    if (greeting) {
      const auto joined = link->join(std::move(place->peer), std::move(*greeting));
      if (!joined) return fail(joined.error());
      return link;
    }
    why = greeting.error();
    if (why != ShmNoGreeting::gone) break;  // it ended just now: begin again
  }
  return fail(no_greeting(options.path, why));
}

}  // namespace tidewire::device
