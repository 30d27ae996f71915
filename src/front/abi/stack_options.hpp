// Options of a stack's sockets in Linux's units and names.
#pragma once

#include <string_view>

#include "base/result.hpp"
#include "core/stack.hpp"
#include "front/abi/option.hpp"

namespace tidewire::posix {

/// 0 or an errno value. What has no meaning for this kind of socket is taken without effect, as by
/// the kernel.
int set_stack_option(Stack& stack, SocketId socket, Option option, int value, Instant now);
Result<int, int> get_stack_option(const Stack& stack, SocketId socket, Option option);

/// The stack's name for one of Linux, and the other way round ("reno" is "newreno" here).
std::string_view congestion_from_linux(std::string_view name);
std::string_view congestion_to_linux(std::string_view name);

}  // namespace tidewire::posix
