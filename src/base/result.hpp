// Errors as values: the core is compiled without exceptions.
#pragma once

#include <expected>
#include <utility>

namespace tidewire {

template <typename T, typename E>
using Result = std::expected<T, E>;

template <typename E>
constexpr std::unexpected<std::decay_t<E>> fail(E&& error) noexcept {
  return std::unexpected<std::decay_t<E>>(std::forward<E>(error));
}

}  // namespace tidewire
