// SocketError as errno: the one table.
#pragma once

#include "core/socket_error.hpp"

namespace tidewire::posix {

/// 0 for SocketError::none.
int errno_of(SocketError error) noexcept;

}  // namespace tidewire::posix
