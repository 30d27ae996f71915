// Runs an interceptor in the loop of runtime::Driver.
#pragma once

#include "front/posix/interceptor.hpp"
#include "front/posix/signal_relay.hpp"
#include "front/posix/stack_backend.hpp"
#include "runtime/driver.hpp"

namespace tidewire::posix {

/// Create after Interceptor::start(). While it lives, the driver serves the run and passes signals
/// on to the program. The backend must own the events of its stack (Driver::add_stack).
class DriverBinding final : public runtime::Task, public runtime::IoHandler {
 public:
  DriverBinding(runtime::Driver& driver, Interceptor& interceptor, StackBackend& backend);
  ~DriverBinding();
  DriverBinding(const DriverBinding&) = delete;
  DriverBinding& operator=(const DriverBinding&) = delete;

  void on_io(int fd, std::uint32_t ready, Instant now) override;
  Instant next_deadline() override { return interceptor_.next_deadline(); }
  void run(Instant) override { due_ = true; }
  void before_transmit(Instant now) override;

 private:
  runtime::Driver& driver_;
  Interceptor& interceptor_;
  StackBackend& backend_;
  SignalRelay signals_;
  runtime::WatchId calls_;
  runtime::WatchId relay_;
  bool due_ = true;
};

}  // namespace tidewire::posix
