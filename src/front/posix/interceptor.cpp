#include "front/posix/interceptor.hpp"

#include <sys/resource.h>

namespace tidewire::posix {
namespace {

// Each socket of a program costs descriptors here.
rlimit raise_descriptor_limit() {
  rlimit before{};
  if (::getrlimit(RLIMIT_NOFILE, &before) == 0 && before.rlim_cur < before.rlim_max) {
    const rlimit most{before.rlim_max, before.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &most);
  }
  return before;
}

}  // namespace

Interceptor::~Interceptor() {
  launcher_.end_all();
  netd_.reset();
}

Result<void, std::string> Interceptor::start(InterceptorConfig config) {
  for (const std::string& line : explain_missing(config.features)) {
    if (!config.features.user_notification || !config.features.process_vm) return fail(line);
  }
  LaunchConfig launch;
  launch.argv = std::move(config.argv);
  launch.features = config.features;
  launch.filter.allow_io_uring = config.allow_io_uring;
  launch.preload = std::move(config.preload);
  launch.filter.native_accept = config.hooks.native_accept = !launch.preload.empty();
  launch.network = std::move(config.network);
  launch.network_needed = config.network_needed;
  if (auto started = launcher_.start(launch); !started) return started;
  // After the fork: the program keeps the limit it was started with.
  raise_descriptor_limit();
  const OwnNetwork* network = launcher_.network();
  config.hooks.namespace_tells = network != nullptr && network->interface;
  netd_ = std::make_unique<Netd>(backend_, config.features, launcher_.take_listener(),
                                 launcher_.guard(), std::move(config.hooks));
  return {};
}

Instant Interceptor::next_deadline() { return netd_->next_deadline(); }

}  // namespace tidewire::posix
