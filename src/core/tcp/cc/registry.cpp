#include "core/tcp/cc/registry.hpp"

#include <algorithm>

#include "core/tcp/cc/bbr.hpp"
#include "core/tcp/cc/cubic.hpp"
#include "core/tcp/cc/newreno.hpp"

namespace tidewire::tcp {
namespace {

template <Controller C>
AnyController make_controller(const ControllerConfig& config) noexcept {
  return AnyController(C(config));
}

}  // namespace

ControllerRegistry::ControllerRegistry() noexcept {
  (void)add(kBuiltIn[0], make_controller<Cubic>);
  (void)add(kBuiltIn[1], make_controller<NewReno>);
  (void)add(kBuiltIn[2], make_controller<Bbr>);
}

bool ControllerRegistry::add(std::string_view name, ControllerFactory factory) noexcept {
  if (name.empty() || factory == nullptr) return false;
  const auto at = static_cast<std::size_t>(
      std::find(names_.begin(), names_.begin() + count_, name) - names_.begin());
  if (at == kMost) return false;
  names_[at] = name;
  factories_[at] = factory;
  count_ = std::max(count_, at + 1);
  return true;
}

std::optional<AnyController> ControllerRegistry::make(
    std::string_view name, const ControllerConfig& config) const noexcept {
  for (std::size_t i = 0; i < count_; ++i) {
    if (names_[i] == name) return factories_[i](config);
  }
  return std::nullopt;
}

std::string_view ControllerRegistry::known(std::string_view name) const noexcept {
  const auto all = names();
  const auto found = std::find(all.begin(), all.end(), name);
  return found != all.end() ? *found : std::string_view{};
}

}  // namespace tidewire::tcp
