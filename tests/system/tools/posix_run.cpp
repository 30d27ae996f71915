// Runs a program on the kernel backend: the interception without the stack.
#include <poll.h>
#include <time.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "front/posix/interceptor.hpp"
#include "front/posix/kernel_backend.hpp"
#include "front/posix/signal_relay.hpp"

namespace {

using namespace tidewire;

Instant clock_now() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return Instant::from_nanos(t.tv_sec * 1'000'000'000 + t.tv_nsec);
}

int wait_millis(Instant deadline) {
  if (deadline.is_never()) return 1000;
  const Duration left = deadline - clock_now();
  if (left <= Duration::zero()) return 0;
  return static_cast<int>(std::min<std::int64_t>(1000, left.count_millis() + 1));
}

}  // namespace

int main(int argc, char** argv) {
  posix::InterceptorConfig config;
  config.features = posix::probe_features();
  int i = 1;
  for (; i < argc && argv[i][0] == '-'; ++i) {
    const std::string word = argv[i];
    if (word == "--") {
      ++i;
      break;
    }
    if (word.starts_with("--without=")) {
      const std::string unknown = posix::switch_off(config.features, word.substr(10));
      if (!unknown.empty()) {
        std::fprintf(stderr, "unknown feature %s\n", unknown.c_str());
        return 125;
      }
    }
  }
  for (; i < argc; ++i) config.argv.emplace_back(argv[i]);
  if (config.argv.empty()) {
    std::fprintf(stderr, "usage: posix_run [--without=FEATURE,...] -- PROGRAM [ARGUMENT...]\n");
    return 125;
  }
  posix::KernelBackend backend;
  posix::Interceptor interceptor(backend);
  if (auto started = interceptor.start(std::move(config)); !started) {
    std::fprintf(stderr, "posix_run: %s\n", started.error().c_str());
    return 125;
  }
  posix::SignalRelay signals;
  while (!interceptor.program_ended()) {
    pollfd watched[2] = {{interceptor.descriptor(), POLLIN, 0}, {signals.descriptor(), POLLIN, 0}};
    ::poll(watched, 2, wait_millis(interceptor.next_deadline()));
    while (const auto number = signals.next()) interceptor.forward_signal(*number);
    interceptor.process(clock_now());
  }
  if (interceptor.ending().exec_errno != 0) {
    std::fprintf(stderr, "posix_run: cannot execute: %s\n",
                 std::strerror(interceptor.ending().exec_errno));
  }
  return interceptor.ending().status;
}
