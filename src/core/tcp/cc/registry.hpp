// Congestion controllers by name.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

#include "core/tcp/cc/controller.hpp"

namespace tidewire::tcp {

using ControllerFactory = AnyController (*)(const ControllerConfig&) noexcept;

/// The algorithms a Stack knows. Starts with the built-in ones; a user adds his
/// own. Names must outlive the registry (literals).
class ControllerRegistry {
 public:
  static constexpr std::size_t kMost = 16;
  static constexpr std::string_view kDefault = "cubic";
  /// What every registry starts with.
  static constexpr std::array<std::string_view, 3> kBuiltIn{"cubic", "reno", "bbr"};

  ControllerRegistry() noexcept;
  /// Adds an algorithm, or replaces the one of that name; false if the registry is full.
  bool add(std::string_view name, ControllerFactory factory) noexcept;
  /// A new controller; nothing if the name is not known.
  std::optional<AnyController> make(std::string_view name,
                                    const ControllerConfig& config) const noexcept;
  bool knows(std::string_view name) const noexcept { return !known(name).empty(); }
  /// The same name as the registry holds it, which lasts; empty if it is not known.
  std::string_view known(std::string_view name) const noexcept;
  /// All names, in the order they were added.
  std::span<const std::string_view> names() const noexcept { return {names_.data(), count_}; }

 private:
  std::array<std::string_view, kMost> names_{};
  std::array<ControllerFactory, kMost> factories_{};
  std::size_t count_ = 0;
};

}  // namespace tidewire::tcp
