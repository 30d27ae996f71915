// How a synchronized connection closes: RFC 9293 §3.3.2, figure 5, as a table.
#pragma once

#include <array>
#include <cstdint>

#include "core/types.hpp"

namespace tidewire::tcp {

enum class CloseEvent : std::uint8_t {
  close,         ///< our side has nothing more to send: FIN queued
  fin_received,  ///< the peer's FIN is in order
  fin_acked,     ///< our FIN was acknowledged
};

//= RFC 9293 §3.3.2, §3.10.4, §3.10.7.4
/// The state after an event; the same state where the event means nothing.
constexpr TcpState next_phase(TcpState state, CloseEvent event) noexcept {
  using enum TcpState;
  using Row = std::array<TcpState, 3>;  // close, fin_received, fin_acked
  constexpr std::array<Row, 11> kTable{{
      {closed, closed, closed},                // CLOSED
      {closed, listen, listen},                // LISTEN
      {closed, syn_sent, syn_sent},            // SYN-SENT
      {fin_wait_1, close_wait, syn_received},  // SYN-RECEIVED
      {fin_wait_1, close_wait, established},   // ESTABLISHED
      {fin_wait_1, closing, fin_wait_2},       // FIN-WAIT-1
      {fin_wait_2, time_wait, fin_wait_2},     // FIN-WAIT-2
      {last_ack, close_wait, close_wait},      // CLOSE-WAIT
      {closing, closing, time_wait},           // CLOSING
      {last_ack, last_ack, closed},            // LAST-ACK
      {time_wait, time_wait, time_wait},       // TIME-WAIT
  }};
  return kTable[static_cast<std::size_t>(state)][static_cast<std::size_t>(event)];
}

/// ESTABLISHED or later, and not CLOSED.
constexpr bool is_synchronized(TcpState state) noexcept { return state >= TcpState::established; }

/// Our side may still send new data.
constexpr bool may_send(TcpState state) noexcept {
  return state == TcpState::established || state == TcpState::close_wait;
}

/// The peer may still send text that is wanted.
constexpr bool may_receive(TcpState state) noexcept {
  return state == TcpState::established || state == TcpState::fin_wait_1 ||
         state == TcpState::fin_wait_2;
}

}  // namespace tidewire::tcp
