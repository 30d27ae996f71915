#include "front/posix/notifier.hpp"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "front/posix/kernel_abi.hpp"

namespace tidewire::posix {

namespace {

std::size_t notification_size() {
  seccomp_notif_sizes sizes{};
  abi::seccomp(SECCOMP_GET_NOTIF_SIZES, 0, &sizes);
  return std::max<std::size_t>(sizes.seccomp_notif, sizeof(seccomp_notif));
}

bool watch(int epoll, int fd, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  return ::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

}  // namespace

Notifier::Notifier(Fd listener, const Features& features)
    : listener_(std::move(listener)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      stop_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      keep_answers_(!features.wait_killable),
      space_(notification_size()) {
  // Refused by kernels before 6.6; then wake-ups are only slower.
  if (features.sync_wake_up) {
    (void)::ioctl(listener_.get(), abi::notif_set_flags, abi::notif_fd_sync_wake_up);
  }
  watch(epoll_.get(), stop_.get(), EPOLLIN);
  // A call wakes the loop if that sleeps, because its watch is older, and otherwise the thread.
  watch(epoll_.get(), listener_.get(), EPOLLIN | EPOLLEXCLUSIVE);
  // The thread must not take signals that the owner waits for.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { receive_loop(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Notifier::~Notifier() {
  const std::uint64_t one = 1;
  (void)!::write(stop_.get(), &one, sizeof one);
  thread_.join();
}

// With lock_.
void Notifier::wake_owner() {
  if (std::exchange(woken_, true)) return;
  const std::uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);
}

// With receive_lock_, when a call waits or did. False: the caller was killed or interrupted since
// then, for which the kernel has ENOENT: it counts what was sent, and not what is left.
bool Notifier::take(Call& call) {
  std::ranges::fill(space_, 0);
  if (::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_RECV, space_.data()) != 0) return false;
  seccomp_notif got;
  std::memcpy(&got, space_.data(), sizeof got);
  call.id = got.id;
  call.tid = static_cast<pid_t>(got.pid);
  call.number = got.data.nr;
  for (std::size_t i = 0; i < call.args.size(); ++i) call.args[i] = got.data.args[i];
  return true;
}

bool Notifier::receive(Call& call, bool readable) {
  if (!readable) {
    live_.store(false, std::memory_order_relaxed);
    return false;
  }
  {
    const std::lock_guard alone(receive_lock_);
    // What the loop saw is still there if the thread has not been here since the loop itself was.
    const bool sure = thread_looks_ == std::exchange(known_looks_, thread_looks_);
    if (sure ? !take(call) : !look_and_take(call)) return false;
  }
  return !keep_answers_ || !replay(call);
}

bool Notifier::receive_another(Call& call) {
  {
    const std::lock_guard alone(receive_lock_);
    if (!look_and_take(call)) return false;
  }
  return !keep_answers_ || !replay(call);
}

// With receive_lock_. Without a call the kernel would wait for one.
bool Notifier::look_and_take(Call& call) {
  pollfd look{listener_.get(), POLLIN, 0};
  return ::poll(&look, 1, 0) > 0 && (look.revents & POLLIN) != 0 && take(call);
}

void Notifier::share(bool shared) {
  if (shared_ == shared) return;
  if (!shared) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, listener_.get(), nullptr);
  // Behind the loop's watch. If the kernel refuses, the next long turn tries again.
  shared_ = shared && watch(epoll_.get(), listener_.get(), EPOLLIN | EPOLLEXCLUSIVE);
}

// False when no task with the filter is left.
bool Notifier::receive_in_thread() {
  const std::lock_guard alone(receive_lock_);
  ++thread_looks_;
  pollfd look{listener_.get(), POLLIN, 0};
  if (::poll(&look, 1, 0) <= 0) return true;
  if ((look.revents & POLLIN) == 0) return false;
  Call call;
  if (!take(call)) return true;
  const std::lock_guard guard(lock_);
  if (queue_.empty()) wake_owner();
  queue_.push_back(call);
  pending_.fetch_add(1, std::memory_order_release);
  return true;
}

void Notifier::receive_loop() {
  for (;;) {
    epoll_event ready{};
    const int n = ::epoll_wait(epoll_.get(), &ready, 1, -1);
    if (n < 0 && errno != EINTR) break;
    if (n <= 0) continue;
    if (ready.data.fd == stop_.get()) break;
    if (!receive_in_thread()) break;
  }
  live_.store(false, std::memory_order_relaxed);
  const std::lock_guard guard(lock_);
  wake_owner();
}

bool Notifier::next(Call& call) {
  for (;;) {
    {
      const std::lock_guard guard(lock_);
      if (queue_.empty()) {
        std::uint64_t count = 0;
        if (std::exchange(woken_, false)) (void)!::read(wake_.get(), &count, sizeof count);
        return false;
      }
      call = queue_.front();
      queue_.pop_front();
      pending_.fetch_sub(1, std::memory_order_relaxed);
    }
    if (!keep_answers_ || !replay(call)) return true;
  }
}

// A call that a signal interrupted after it had its effect comes again with the same arguments.
bool Notifier::replay(const Call& call) {
  const auto kept = kept_.find(call.tid);
  if (kept == kept_.end()) return false;
  const Kept answer = kept->second;
  kept_.erase(kept);
  if (answer.number != call.number || answer.args != call.args) return false;
  send(call, answer.value, answer.error, 0);
  return true;
}

bool Notifier::send(const Call& call, std::int64_t value, int error, std::uint32_t flags) {
  seccomp_notif_resp answer{};
  answer.id = call.id;
  answer.val = value;
  answer.error = -error;
  answer.flags = flags;
  if (::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_SEND, &answer) == 0) return true;
  if (keep_answers_ && errno == ENOENT && flags == 0 && error != abi::erestartsys) {
    if (kept_.size() > 1024) kept_.clear();
    kept_[call.tid] = Kept{call.number, call.args, value, error};
  }
  return false;
}

bool Notifier::give_value(const Call& call, std::int64_t value) { return send(call, value, 0, 0); }

bool Notifier::give_error(const Call& call, int error) { return send(call, 0, error, 0); }

bool Notifier::let_through(const Call& call) {
  return send(call, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
}

int Notifier::give_fd(const Call& call, int fd, bool close_on_exec) {
  // In one step, a stop of this process (Ctrl-Z, a freezer) before the caller has run makes the
  // kernel take the descriptor back but not the answer: the call returns 0. In two steps nothing is
  // lost, but only where no signal can interrupt the caller between them.
  const bool in_one_step = keep_answers_;
  seccomp_notif_addfd add{};
  add.id = call.id;
  add.flags = in_one_step ? SECCOMP_ADDFD_FLAG_SEND : 0;
  add.srcfd = static_cast<std::uint32_t>(fd);
  add.newfd_flags = close_on_exec ? static_cast<std::uint32_t>(O_CLOEXEC) : 0;
  const int number = ::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &add);
  // The caller's descriptor table is full: that is its answer.
  if (number < 0 && (errno == EMFILE || errno == ENFILE)) give_error(call, errno);
  if (number >= 0 && !in_one_step && !give_value(call, number)) return -1;
  return number;
}

bool Notifier::replace_fd(const Call& call, int fd, int target, bool close_on_exec) {
  seccomp_notif_addfd add{};
  add.id = call.id;
  add.flags = SECCOMP_ADDFD_FLAG_SETFD;
  add.srcfd = static_cast<std::uint32_t>(fd);
  add.newfd = static_cast<std::uint32_t>(target);
  add.newfd_flags = close_on_exec ? static_cast<std::uint32_t>(O_CLOEXEC) : 0;
  return ::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &add) >= 0;
}

bool Notifier::still_waiting(const Call& call) const {
  std::uint64_t id = call.id;
  return ::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

}  // namespace tidewire::posix
