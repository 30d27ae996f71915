#include "front/abi/stack_options.hpp"

#include <algorithm>
#include <cerrno>

#include "front/abi/errno_map.hpp"

namespace tidewire::posix {
namespace {

constexpr std::int64_t second = 1'000'000'000;
constexpr std::int64_t millisecond = 1'000'000;

/// The stack's option for one of ours, and the stack's units in one of ours.
struct Mapping {
  Option ours;
  SocketOption stacks;
  std::int64_t unit = 1;
};
constexpr Mapping mappings[] = {
    {Option::no_delay, SocketOption::no_delay},
    {Option::cork, SocketOption::cork},
    {Option::quick_ack, SocketOption::quick_ack},
    {Option::max_segment, SocketOption::max_segment},
    {Option::keep_alive, SocketOption::keep_alive},
    {Option::keep_idle, SocketOption::keep_idle, second},
    {Option::keep_interval, SocketOption::keep_interval, second},
    {Option::keep_count, SocketOption::keep_count},
    {Option::user_timeout, SocketOption::user_timeout, millisecond},
    {Option::syn_count, SocketOption::syn_count},
    {Option::defer_accept, SocketOption::defer_accept, second},
    {Option::window_clamp, SocketOption::window_clamp},
    {Option::fin_timeout, SocketOption::linger2, second},
    {Option::unsent_low_water, SocketOption::not_sent_low_water},
    {Option::fast_open, SocketOption::fast_open},
    {Option::fast_open_connect, SocketOption::fast_open_connect},
    {Option::fast_open_no_cookie, SocketOption::fast_open_no_cookie},
    {Option::reuse_address, SocketOption::reuse_address},
    {Option::reuse_port, SocketOption::reuse_port},
    {Option::broadcast, SocketOption::broadcast},
    {Option::v6_only, SocketOption::v6_only},
    {Option::ttl, SocketOption::ttl},
    {Option::tos, SocketOption::tos},
    {Option::hop_limit, SocketOption::ttl},
    {Option::traffic_class, SocketOption::tos},
    {Option::multicast_ttl, SocketOption::multicast_ttl},
    {Option::multicast_hops, SocketOption::multicast_ttl},
    {Option::multicast_loop, SocketOption::multicast_loop},
    {Option::multicast_loop_v6, SocketOption::multicast_loop},
    {Option::mtu_discover, SocketOption::mtu_discover},
    {Option::max_pacing_rate, SocketOption::max_pacing_rate},
    {Option::send_buffer, SocketOption::send_buffer},
    {Option::receive_buffer, SocketOption::receive_buffer},
    {Option::linger, SocketOption::linger, second},
    {Option::receive_errors, SocketOption::receive_errors},
    {Option::receive_errors_v6, SocketOption::receive_errors},
    {Option::path_mtu, SocketOption::mtu},
};

const Mapping* find(Option option) {
  const auto* found = std::ranges::find(mappings, option, &Mapping::ours);
  return found == std::end(mappings) ? nullptr : found;
}

// What -1 asks for.
int default_of(Option option) {
  if (option == Option::hop_limit) return 64;
  return option == Option::traffic_class ? 0 : 1;
}

bool minus_one_is_default(Option option) {
  return option == Option::hop_limit || option == Option::traffic_class ||
         option == Option::multicast_ttl || option == Option::multicast_hops;
}

}  // namespace

int set_stack_option(Stack& stack, SocketId socket, Option option, int value, Instant now) {
  const Mapping* mapping = find(option);
  if (mapping == nullptr) return ENOPROTOOPT;
  std::int64_t amount = value;
  if (value == -1 && minus_one_is_default(option)) amount = default_of(option);
  if (option == Option::tos || option == Option::traffic_class) amount &= 0xff;
  if (option == Option::max_pacing_rate && value != -1) amount = static_cast<std::uint32_t>(value);
  if (amount > 0) amount *= mapping->unit;
  const auto done = stack.set_option(socket, mapping->stacks, amount, now);
  if (done) return 0;
  // What has no meaning for this kind of socket is remembered, as by the kernel; but what is
  // switched off in the whole stack it refuses.
  if (option == Option::fast_open_connect) return errno_of(done.error());
  return done.error() == SocketError::not_supported ? 0 : errno_of(done.error());
}

Result<int, int> get_stack_option(const Stack& stack, SocketId socket, Option option) {
  const Mapping* mapping = find(option);
  if (mapping == nullptr) return fail(ENOPROTOOPT);
  const auto value = stack.get_option(socket, mapping->stacks);
  if (!value) return fail(errno_of(value.error()));
  return static_cast<int>(*value < 0 ? *value : *value / mapping->unit);
}

}  // namespace tidewire::posix
