#include "front/posix/driver_binding.hpp"

namespace tidewire::posix {

DriverBinding::DriverBinding(runtime::Driver& driver, Interceptor& interceptor,
                             StackBackend& backend)
    : driver_(driver), interceptor_(interceptor), backend_(backend) {
  if (auto watch = driver_.poller().add(interceptor_.descriptor(), runtime::kIoRead, *this)) {
    calls_ = *watch;
  }
  if (auto watch = driver_.poller().add(signals_.descriptor(), runtime::kIoRead, *this)) {
    relay_ = *watch;
  }
  driver_.add_task(*this);
}

DriverBinding::~DriverBinding() {
  driver_.remove_task(*this);
  driver_.poller().remove(calls_);
  driver_.poller().remove(relay_);
}

void DriverBinding::on_io(int fd, std::uint32_t, Instant) {
  if (fd != signals_.descriptor()) {
    due_ = true;
    return;
  }
  while (const auto number = signals_.next()) interceptor_.forward_signal(*number);
}

// The stack's events of this turn were dispatched, its frames not yet handed out: what the
// programs answer leaves in the same turn.
void DriverBinding::before_transmit(Instant now) {
  if (!due_ && !backend_.has_events()) return;
  due_ = false;
  interceptor_.process(now);
}

}  // namespace tidewire::posix
