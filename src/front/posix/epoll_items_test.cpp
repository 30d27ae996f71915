#include "front/posix/epoll_items.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

#include "front/posix/fd.hpp"

namespace tidewire::posix {
namespace {

std::pair<Fd, Fd> socket_pair() {
  int ends[2] = {-1, -1};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  return {Fd(ends[0]), Fd(ends[1])};
}

class EpollItems : public ::testing::Test {
 protected:
  EpollItems() : set_(::epoll_create1(EPOLL_CLOEXEC)), other_set_(::epoll_create1(EPOLL_CLOEXEC)) {}

  void watch(int fd, std::uint32_t events, std::uint64_t data) {
    epoll_event event{};
    event.events = events;
    event.data.u64 = data;
    ASSERT_EQ(::epoll_ctl(set_.get(), EPOLL_CTL_ADD, fd, &event), 0);
  }

  Fd set_;
  Fd other_set_;
};

TEST_F(EpollItems, AreFoundWithEventsAndData) {
  const auto [watched, peer] = socket_pair();
  watch(watched.get(), EPOLLIN | EPOLLET, 0x123456789abcdef0);
  watch(peer.get(), EPOLLOUT, 1);
  const auto found = epoll_items_of(::gettid(), watched.get());
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].set, set_.get());
  EXPECT_EQ(found[0].data, 0x123456789abcdef0U);
  EXPECT_EQ(found[0].events & (EPOLLIN | EPOLLOUT | EPOLLET), EPOLLIN | EPOLLET);
  EXPECT_TRUE(epoll_items_of(::gettid(), other_set_.get()).empty());
}

TEST_F(EpollItems, GoOverToTheFileThatTakesTheNumber) {
  auto [watched, peer] = socket_pair();
  const auto [fresh, fresh_peer] = socket_pair();
  const int number = watched.get();
  watch(number, EPOLLIN, 42);
  const auto found = epoll_items_of(::gettid(), number);
  ASSERT_EQ(found.size(), 1U);
  ASSERT_EQ(::dup3(fresh.get(), number, O_CLOEXEC), number);
  ASSERT_TRUE(epoll_items_of(::gettid(), number).empty());  // the old file is closed

  ASSERT_TRUE(add_epoll_item(set_.get(), fresh.get(), number, found[0]));

  epoll_event event{};
  EXPECT_EQ(::epoll_wait(set_.get(), &event, 1, 0), 0);
  ASSERT_EQ(::write(fresh_peer.get(), "x", 1), 1);
  ASSERT_EQ(::epoll_wait(set_.get(), &event, 1, 0), 1);
  EXPECT_EQ(event.data.u64, 42U);
  // The program changes and removes it under its number.
  event.events = EPOLLOUT;
  EXPECT_EQ(::epoll_ctl(set_.get(), EPOLL_CTL_MOD, number, &event), 0);
  EXPECT_EQ(::epoll_ctl(set_.get(), EPOLL_CTL_DEL, number, nullptr), 0);
}

TEST_F(EpollItems, ATableOfItsOwnLeavesNothingBehind) {
  const auto [fresh, peer] = socket_pair();
  const int number = set_.get();  // taken here, free in the table of the thread
  ASSERT_TRUE(
      add_epoll_item(other_set_.get(), fresh.get(), number, {.events = EPOLLOUT, .data = 7}));
  epoll_event event{};
  ASSERT_EQ(::epoll_wait(other_set_.get(), &event, 1, 0), 1);
  EXPECT_EQ(event.data.u64, 7U);
  EXPECT_EQ(::epoll_wait(set_.get(), &event, 1, 0), 0);  // still the set
}

}  // namespace
}  // namespace tidewire::posix
