#include "front/abi/tcp_info.hpp"

#include <gtest/gtest.h>
#include <netinet/tcp.h>

namespace tidewire::posix {
namespace {

SocketInfo established() {
  SocketInfo about;
  about.state = TcpState::established;
  about.mss = 1000;
  return about;
}

TEST(TcpInfo, TheStateOfCongestionControl) {
  const auto state = [](auto&& change) {
    SocketInfo about = established();
    change(about);
    return linux_tcp_info(about, Instant{}).ca_state;
  };
  EXPECT_EQ(state([](SocketInfo&) {}), TCP_CA_Open);
  EXPECT_EQ(state([](SocketInfo& a) { a.disorder = true; }), TCP_CA_Disorder);
  EXPECT_EQ(state([](SocketInfo& a) { a.disorder = a.reduced_by_marks = true; }), TCP_CA_CWR);
  EXPECT_EQ(state([](SocketInfo& a) { a.in_recovery = true; }), TCP_CA_Recovery);
  EXPECT_EQ(state([](SocketInfo& a) { a.timed_out = true; }), TCP_CA_Loss);
}

TEST(TcpInfo, CountsSegmentsInFlightByTheirFate) {
  SocketInfo about = established();
  about.outstanding = 10'000;
  about.in_flight = 4000;
  about.deemed_lost = 5500;
  about.sent_again = 2000;
  about.lost = 77;
  const LinuxTcpInfo info = linux_tcp_info(about, Instant{});
  EXPECT_EQ(info.unacked, 10U);
  EXPECT_EQ(info.lost, 6U) << "of now, not of ever";
  EXPECT_EQ(info.retrans, 2U);
}

TEST(TcpInfo, TimesOfTheSenderAreInMicroseconds) {
  SocketInfo about = established();
  about.busy = Duration::millis(350);
  about.window_limited = Duration::millis(300);
  about.buffer_limited = Duration::micros(20);
  about.reordering_seen = 2;
  const LinuxTcpInfo info = linux_tcp_info(about, Instant{});
  EXPECT_EQ(info.busy_time, 350'000U);
  EXPECT_EQ(info.rwnd_limited, 300'000U);
  EXPECT_EQ(info.sndbuf_limited, 20U);
  EXPECT_EQ(info.reord_seen, 2U);
}

TEST(TcpInfo, TheThresholdIsInSegmentsOrInfinite) {
  SocketInfo about = established();
  about.ssthresh = 7000;
  EXPECT_EQ(linux_tcp_info(about, Instant{}).snd_ssthresh, 7U);
  about.ssthresh = 0xffffffff;
  EXPECT_EQ(linux_tcp_info(about, Instant{}).snd_ssthresh, 0x7fffffffU);
}

TEST(TcpInfo, WhatWasDeliveredIncludesTheSyn) {
  SocketInfo about = established();
  EXPECT_EQ(linux_tcp_info(about, Instant{}).delivered, 1U);
  about.delivered = 2500;
  EXPECT_EQ(linux_tcp_info(about, Instant{}).delivered, 4U);
  about = established();
  for (const TcpState state : {TcpState::syn_sent, TcpState::listen}) {
    about.state = state;
    EXPECT_EQ(linux_tcp_info(about, Instant{}).delivered, 0U);
  }
}

}  // namespace
}  // namespace tidewire::posix
