#include "front/posix/call_limit.hpp"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace tidewire::posix {
namespace {

int limit_signal() { return SIGRTMAX - 1; }

}  // namespace

CallLimit::CallLimit() {
  struct sigaction interrupt{};
  interrupt.sa_handler = [](int) {};
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, limit_signal());
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = limit_signal();
  event._sigev_un._tid = static_cast<pid_t>(::syscall(SYS_gettid));
  usable_ = ::sigaction(limit_signal(), &interrupt, nullptr) == 0 &&
            ::pthread_sigmask(SIG_UNBLOCK, &only, nullptr) == 0 &&
            ::timer_create(CLOCK_MONOTONIC, &event, &timer_) == 0;
}

CallLimit::~CallLimit() {
  if (usable_) ::timer_delete(timer_);
}

// Again and again: the first signal may come before the call has begun to wait.
void CallLimit::run(long nanoseconds) noexcept {
  if (!usable_) return;
  const itimerspec when{.it_interval = {0, nanoseconds}, .it_value = {0, nanoseconds}};
  ::timer_settime(timer_, 0, &when, nullptr);
}

}  // namespace tidewire::posix
