#include "front/posix/notifier.hpp"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "front/posix/kernel_abi.hpp"

namespace tidewire::posix {

Notifier::Notifier(Fd listener, const Features& features)
    : listener_(std::move(listener)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      stop_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      keep_answers_(!features.wait_killable) {
  // Refused by kernels before 6.6; then wake-ups are only slower.
  if (features.sync_wake_up) {
    (void)::ioctl(listener_.get(), abi::notif_set_flags, abi::notif_fd_sync_wake_up);
  }
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

void Notifier::receive_loop() {
  seccomp_notif_sizes sizes{};
  abi::seccomp(SECCOMP_GET_NOTIF_SIZES, 0, &sizes);
  std::vector<char> space(std::max<std::size_t>(sizes.seccomp_notif, sizeof(seccomp_notif)));
  for (;;) {
    pollfd watched[2] = {{listener_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    if (::poll(watched, 2, -1) < 0 && errno != EINTR) break;
    if (watched[1].revents != 0) break;
    if ((watched[0].revents & (POLLIN | POLLHUP | POLLERR)) == 0) continue;
    if ((watched[0].revents & POLLIN) == 0) break;
    std::memset(space.data(), 0, space.size());
    // ENOENT: the caller was killed or interrupted between poll and here.
    if (::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_RECV, space.data()) != 0) continue;
    seccomp_notif got;
    std::memcpy(&got, space.data(), sizeof got);
    Call call;
    call.id = got.id;
    call.tid = static_cast<pid_t>(got.pid);
    call.number = got.data.nr;
    for (std::size_t i = 0; i < 6; ++i) call.args[i] = got.data.args[i];
    bool was_empty = false;
    {
      const std::lock_guard guard(lock_);
      was_empty = queue_.empty();
      queue_.push_back(call);
    }
    const std::uint64_t one = 1;
    if (was_empty) (void)!::write(wake_.get(), &one, sizeof one);
  }
  live_.store(false, std::memory_order_relaxed);
  const std::uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);
}

bool Notifier::next(Call& call) {
  for (;;) {
    {
      const std::lock_guard guard(lock_);
      if (queue_.empty()) {
        std::uint64_t count = 0;
        (void)!::read(wake_.get(), &count, sizeof count);
        return false;
      }
      call = queue_.front();
      queue_.pop_front();
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
