// Options of a stack's sockets in Linux's units and names.
#pragma once

#include "base/result.hpp"
#include "core/stack.hpp"
#include "front/abi/option.hpp"

namespace tidewire::posix {

/// 0 or an errno value. What has no meaning for this kind of socket is taken without effect, as by
/// the kernel.
int set_stack_option(Stack& stack, SocketId socket, Option option, int value, Instant now);
Result<int, int> get_stack_option(const Stack& stack, SocketId socket, Option option);

}  // namespace tidewire::posix
