// Blocking calls that wait, and the signals that end the wait.
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>

#include "front/posix/kernel_abi.hpp"
#include "front/posix/netd.hpp"

namespace tidewire::posix {

// `option_of_timeout` is SO_RCVTIMEO or SO_SNDTIMEO, which the twin itself keeps.
Outcome Netd::park(const Call& call, Socket& s, Fd app, int option_of_timeout, int timeout_error) {
  if (resuming_ != nullptr) return Outcome::parked();
  Parked parked;
  parked.call = call;
  parked.serial = s.serial;
  const int native = app ? app.get() : s.held.get();
  timeval timeout{};
  socklen_t size = sizeof timeout;
  if (::getsockopt(native, SOL_SOCKET, option_of_timeout, &timeout, &size) == 0 &&
      (timeout.tv_sec != 0 || timeout.tv_usec != 0)) {
    parked.has_timeout = true;
    parked.deadline = now_ + Duration::seconds(timeout.tv_sec) + Duration::micros(timeout.tv_usec);
  }
  parked.timeout_error = timeout_error;
  parked.app = std::move(app);
  const std::uint64_t id = ++last_parked_;
  parked_.emplace(id, std::move(parked));
  s.waiters.push_back(id);
  if (next_signal_look_.is_never()) next_signal_look_ = now_ + Duration::millis(10);
  return Outcome::parked();
}

void Netd::unpark(std::uint64_t id) {
  const auto found = parked_.find(id);
  if (found == parked_.end()) return;
  if (Socket* s = by_serial(found->second.serial)) std::erase(s->waiters, id);
  parked_.erase(found);
}

// Runs the calls again that wait on this socket.
void Netd::wake(Socket& s) {
  const std::uint32_t serial = s.serial;
  const std::vector<std::uint64_t> ids = s.waiters;
  for (const std::uint64_t id : ids) {
    const auto found = parked_.find(id);
    if (found == parked_.end()) continue;
    Parked* const outer = resuming_;
    resuming_ = &found->second;
    const Call call = found->second.call;
    const Outcome outcome = notifier_.still_waiting(call) ? dispatch(call) : Outcome::done();
    resuming_ = outer;
    if (outcome.kind == Outcome::Kind::parked) continue;
    finish(call, outcome);
    unpark(id);
    if (by_serial(serial) == nullptr) return;
  }
}

// Ends a wait without success. A connect goes on in the background.
void Netd::cancel(Parked& parked, int error) {
  Socket* s = by_serial(parked.serial);
  if (s != nullptr && s->phase == Phase::connecting && !s->peer) {
    const int app = parked.app ? parked.app.get() : s->held.get();
    pair_for_connect(*s, app, true);
  }
  if (parked.progress > 0) {
    // Of a stream: no address.
    const std::int32_t none = 0;
    const bool from = parked.call.number == SYS_recvfrom && parked.call.args[5] != 0;
    const std::uint64_t at =
        from ? parked.call.args[5] : parked.call.args[1] + offsetof(msghdr, msg_namelen);
    if (from || parked.call.number == SYS_recvmsg) {
      (void)tasks_.write(parked.call.tid, at, as_bytes(&none, sizeof none));
    }
    notifier_.give_value(parked.call, static_cast<std::int64_t>(parked.progress));
  } else {
    notifier_.give_error(parked.call, error);
  }
}

void Netd::look_for_signals() {
  std::vector<std::uint64_t> gone;
  for (auto& [id, parked] : parked_) {
    if (!notifier_.still_waiting(parked.call)) {
      gone.push_back(id);
      continue;
    }
    // Without the flag the kernel interrupts the call itself.
    if (!features_.wait_killable) continue;
    if (!tasks_.signal_pending(parked.call.tid, parked.looks >= 1)) {
      // A signal for the whole process counts at the second look only.
      parked.looks = tasks_.signal_pending(parked.call.tid, true) ? parked.looks + 1 : 0;
      continue;
    }
    // The kernel turns this into EINTR or a restart, as the handler was installed. Calls with a
    // timeout never restart.
    cancel(parked, parked.has_timeout ? EINTR : abi::erestartsys);
    gone.push_back(id);
  }
  for (const std::uint64_t id : gone) unpark(id);
}

}  // namespace tidewire::posix
