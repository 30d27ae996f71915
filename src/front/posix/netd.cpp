#include "front/posix/netd.hpp"

#include <sys/epoll.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace tidewire::posix {
namespace {

constexpr std::uint64_t tag_calls = 1ULL << 40;
constexpr std::uint64_t tag_backend = 2ULL << 40;
constexpr std::uint64_t tag_tasks = 3ULL << 40;
constexpr int events_in_a_turn = 256;
constexpr int calls_in_a_turn = 256;
constexpr int most_deferrals = 3;
constexpr Duration sweep_interval = Duration::seconds(1);
constexpr Duration signal_look_interval = Duration::millis(10);
constexpr std::size_t scratch_bytes = 128 * 1024;

void watch(int epoll, int fd, std::uint32_t events, std::uint64_t data) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = data;
  ::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

}  // namespace

Netd::Netd(Backend& backend, const Features& features, Fd listener, pid_t guard, NetdHooks hooks)
    : backend_(backend),
      features_(features),
      hooks_(std::move(hooks)),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      notifier_(features, hooks_.watch_calls),
      tasks_(features),
      twins_(hooks_.native_accept),
      living_(features.pidfd_getfd),
      scratch_(scratch_bytes),
      native_accept_(hooks_.native_accept && features.pidfd_getfd) {
  take_in(std::move(listener), guard);
  watch(epoll_.get(), tasks_.descriptor(), EPOLLIN, tag_tasks);
  if (backend_.descriptor() >= 0) {
    watch(epoll_.get(), backend_.descriptor(), EPOLLIN, tag_backend);
  }
}

Netd::~Netd() = default;

void Netd::take_in(Fd listener, pid_t guard) {
  watch(epoll_.get(), notifier_.add(std::move(listener)), EPOLLIN, tag_calls);
  living_.add_root(guard);
}

void Netd::receive_calls(int listener, bool readable) {
  Call call;
  bool another = notifier_.receive(call, listener, readable);
  for (int i = 1; another; ++i) {
    calls_.push_back(call);
    // Where one thread makes the calls there is no other.
    const bool others = std::exchange(last_caller_, call.tid) != call.tid;
    another = others && i < calls_in_a_turn && notifier_.receive_another(call, listener);
    newer_calls_ |= another;
  }
  answer_accepts();
}

void Netd::process(Instant now, bool readable) {
  now_ = later(now_, now);
  ++turn_;
  // What programs did before they made these calls comes first: one that closes a port and binds it
  // again must find it free. Some calls may be newer than the loop's look.
  fetch_calls();
  answer_accepts();
  closed_in_turn_ = std::exchange(closed_late_, false);
  if (readable || std::exchange(newer_calls_, false)) take_peer_events();
  pump_queued();
  take_backend_events();
  // The other end of a connection that was closed or begun here learns of it once frames have
  // moved: calls about it wait for that, a few turns at most.
  const bool unsettled = closed_in_turn_ || turn_ < settled_in_;
  const bool wait = unsettled && !calls_.empty() && deferrals_ < most_deferrals;
  deferrals_ = wait ? deferrals_ + 1 : 0;
  if (!wait) answer_calls();
  take_backend_events();
  pump_queued();
  run_timers();
}

void Netd::frames_moved(Instant now) {
  now_ = later(now_, now);
  closed_in_turn_ = false;
  take_backend_events();
  pump_queued();
  closed_late_ = closed_late_ || closed_in_turn_;
}

Instant Netd::next_deadline() {
  if (!pump_list_.empty() || !calls_.empty() || notifier_.pending()) return now_;
  Instant next = backend_.next_deadline();
  if (!living_.empty()) next = earlier(next, next_sweep_);
  if (!parked_.empty()) next = earlier(next, next_signal_look_);
  if (!starved_.empty()) next = earlier(next, next_offer_);
  if (!untold_.empty()) next = earlier(next, next_look_);
  for (const auto& [id, parked] : parked_) next = earlier(next, parked.deadline);
  return next;
}

void Netd::take_peer_events() {
  epoll_event events[events_in_a_turn];
  const int n = ::epoll_wait(epoll_.get(), events, events_in_a_turn, 0);
  for (int i = 0; i < n; ++i) {
    if (events[i].data.u64 == tag_tasks) tasks_.drop_ended();
    if (events[i].data.u64 >= tag_calls) continue;
    Socket* s = by_serial(static_cast<std::uint32_t>(events[i].data.u64));
    if (s == nullptr) continue;
    const std::uint32_t what = events[i].events;
    if ((what & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) s->peer_readable = true;
    if ((what & (EPOLLRDHUP | EPOLLHUP)) != 0) s->peer_ended = true;
    if ((what & EPOLLPRI) != 0) s->peer_urgent = s->knows_urgent = true;
    // Something lies there, and no mark: one that is made now is behind it. Without an end only,
    // which is readable, too.
    s->plain_head = (what & (EPOLLIN | EPOLLRDHUP | EPOLLPRI)) == EPOLLIN;
    if ((what & (EPOLLRDHUP | EPOLLPRI)) == EPOLLRDHUP) s->urgent_over = true;
    if ((what & EPOLLOUT) != 0) s->peer_writable = true;
    // Only who has accepted it can have written to it or closed it.
    const bool used = (what & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) != 0;
    if (native_accept_ && used && s->parent != 0) accepted_unseen(*s);
    if ((what & EPOLLHUP) != 0) s->peer_hung_up = true;
    queue(*s);
  }
}

void Netd::take_backend_events() {
  backend_.process(now_);
  while (const auto event = backend_.poll_event()) backend_event(*event);
}

void Netd::fetch_calls() {
  Call call;
  for (int i = 0; i < calls_in_a_turn && notifier_.next(call); ++i) {
    calls_.push_back(call);
    newer_calls_ = true;
  }
}

void Netd::answer_calls() {
  while (!calls_.empty()) {
    const Call call = calls_.front();
    calls_.pop_front();
    finish(call, dispatch(call));
  }
}

void Netd::finish(const Call& call, const Outcome& outcome) {
  switch (outcome.kind) {
    case Outcome::Kind::value:
      notifier_.give_value(call, outcome.value);
      break;
    case Outcome::Kind::error:
      notifier_.give_error(call, static_cast<int>(outcome.value));
      break;
    case Outcome::Kind::through:
      notifier_.let_through(call);
      break;
    case Outcome::Kind::parked:
    case Outcome::Kind::done:
      break;
  }
}

Outcome Netd::dispatch(const Call& call) {
  switch (call.number) {
    case SYS_socket:
      return on_socket(call);
    case SYS_bind:
      return on_bind(call);
    case SYS_listen:
      return on_listen(call);
    case SYS_connect:
      return on_connect(call);
    case SYS_accept:
    case SYS_accept4:
      return on_accept(call);
    case SYS_getsockname:
    case SYS_getpeername:
      return on_names(call);
    case SYS_shutdown:
      return on_shutdown(call);
    case SYS_ioctl:
      return on_ioctl(call);
    case SYS_setsockopt:
      return on_setsockopt(call);
    case SYS_getsockopt:
      return on_getsockopt(call);
    case SYS_sendto:
      return on_sendto(call);
    case SYS_recvfrom:
      return on_recvfrom(call);
    case SYS_sendmsg:
      return on_sendmsg(call);
    case SYS_recvmsg:
      return on_recvmsg(call);
    case SYS_sendmmsg:
      return on_sendmmsg(call);
    case SYS_recvmmsg:
      return on_recvmmsg(call);
    case SYS_io_uring_setup:
    case SYS_seccomp:
      return on_uncovered_call(call);
    default:
      return Outcome::through();
  }
}

void Netd::run_timers() {
  if (!starved_.empty()) offer_to_starved();
  if (!untold_.empty()) look_for_untold();
  if (!parked_.empty()) {
    std::vector<std::uint64_t> due;
    for (const auto& [id, parked] : parked_) {
      if (parked.deadline <= now_) due.push_back(id);
    }
    for (const std::uint64_t id : due) {
      const auto found = parked_.find(id);
      if (found == parked_.end()) continue;
      cancel(found->second, found->second.timeout_error);
      unpark(id);
    }
    if (next_signal_look_ <= now_ || next_signal_look_.is_never()) {
      if (!next_signal_look_.is_never()) look_for_signals();
      next_signal_look_ = now_ + signal_look_interval;
    }
  } else {
    next_signal_look_ = Instant::never();
  }
  if (living_.empty()) {
    next_sweep_ = Instant::never();
  } else if (next_sweep_.is_never()) {
    next_sweep_ = now_ + sweep_interval;
  } else if (next_sweep_ <= now_) {
    sweep();
    next_sweep_ = now_ + sweep_interval;
  }
}

bool Netd::delivering() const {
  return std::ranges::any_of(sockets_, [](const auto& entry) {
    const Socket& s = *entry.second;
    return s.peer && s.peer_hung_up && !s.up_closed;
  });
}

void Netd::sweep() {
  for (const std::uint32_t serial : living_.dead()) {
    living_.forget(serial);
    Socket* s = by_serial(serial);
    if (s == nullptr) continue;
    if (s->phase == Phase::connected && s->peer && !s->up_closed) {
      // Bytes of the program may still wait in the twin: its end is their end.
      s->shut_write = false;
      s->peer_readable = true;
      queue(*s);
      continue;
    }
    app_closed(*s);
  }
}

}  // namespace tidewire::posix
