#include "device/backends/shm.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "device/backends/shm_meeting.hpp"
#include "device/backends/shm_ring.hpp"
#include "device/wrap/test_frames.hpp"

namespace tidewire::device {
namespace {

using namespace test;

/// A directory of its own, and a clock that moves only when told.
class ShmLinkTest : public ::testing::Test {
 protected:
  ShmLinkTest() {
    std::string name =
        std::string(std::getenv("TMPDIR") != nullptr ? std::getenv("TMPDIR") : "/tmp") +
        "/tidewire-shm-XXXXXX";
    directory = mkdtemp(name.data());
    sched_getaffinity(0, sizeof allowed, &allowed);
    path = directory + "/link";
  }
  ~ShmLinkTest() override {
    sched_setaffinity(0, sizeof allowed, &allowed);
    unlink(path.c_str());
    rmdir(directory.c_str());
  }

  std::unique_ptr<Shm> open(ShmOptions options = {}) {
    options.path = path;
    auto opened = open_shm(options);
    EXPECT_TRUE(opened.has_value()) << opened.error();
    return opened ? std::move(*opened) : nullptr;
  }
  std::string error(ShmOptions options = {}) {
    options.path = path;
    auto opened = open_shm(options);
    return opened ? "" : opened.error();
  }
  void pass(Duration time) { now = now + time; }
  /// Opens the second end while the first one does its turns.
  std::unique_ptr<Shm> join(Shm& first, ShmOptions options = {}) {
    std::unique_ptr<Shm> second;
    std::jthread opener([&] { second = open(options); });
    turn_until(first, [&] { return first.link_up(); });
    return opener.join(), std::move(second);
  }
  template <typename Condition>
  void turn_until(Shm& device, Condition done) {
    for (int i = 0; i < 5000 && !done(); ++i) {
      pass(Duration::millis(1));
      (void)device.receive(now, 64);
      usleep(1000);
    }
  }
  PushResult push(Shm& device, std::size_t payload, std::uint32_t seg_size = 0) {
    Headers h;
    h.ethernet = false;
    head = headers(h, payload);
    data = pattern(payload);
    const Bytes parts[] = {data};
    return device.push(frame_of(h, head, parts, seg_size));
  }
  /// False if there is no second processor for this test.
  bool run_on(int which) const {
    cpu_set_t one;
    CPU_ZERO(&one);
    int left = which;
    for (int i = 0; i < CPU_SETSIZE; ++i) {
      if (!CPU_ISSET(i, &allowed) || left-- > 0) continue;
      CPU_SET(i, &one);
      return sched_setaffinity(0, sizeof one, &one) == 0 && CPU_COUNT(&allowed) > 1;
    }
    return false;
  }
  static bool readable(const Shm& device) {
    pollfd poll_for{device.descriptor(), POLLIN, 0};
    return poll(&poll_for, 1, 0) == 1;
  }

  cpu_set_t allowed;
  std::string directory, path;
  Instant now = Instant::from_nanos(1'000'000'000);
  std::vector<std::byte> head, data;
  std::atomic<bool> seen = false;
};

TEST_F(ShmLinkTest, TwoEndsCarryFramesBothWays) {
  auto first = open({.path = {}, .mtu = 9000});
  ASSERT_TRUE(first && first->listens());
  EXPECT_FALSE(first->link_up());
  struct stat about{};
  ASSERT_EQ(stat(path.c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777, 0600U);
  EXPECT_EQ(push(*first, 100), PushResult::taken) << "as into a cable that hangs down";
  EXPECT_EQ(first->counters().lost, 1U);
  auto second = join(*first);
  ASSERT_TRUE(second && second->link_up() && first->link_up());
  EXPECT_EQ(second->capabilities().mtu, 9000U);
  EXPECT_EQ(second->capabilities().medium, Medium::ip);
  for (auto [from, to] : {std::pair{first.get(), second.get()}, {second.get(), first.get()}}) {
    ASSERT_EQ(push(*from, 60'000, 8948), PushResult::taken);
    from->flush();
    const auto frames = to->receive(now, 64);
    ASSERT_EQ(frames.size(), 1U);
    EXPECT_EQ(frames[0].size(), 60'040U);
    EXPECT_EQ(frames[0].segs, 7);
    EXPECT_EQ(to->next_deadline(), now) << "to give the room back";
    EXPECT_TRUE(to->receive(now, 64).empty());
  }
  second.reset();
  first.reset();
  EXPECT_NE(stat(path.c_str(), &about), 0) << "the socket is removed";
}

TEST_F(ShmLinkTest, SleepsAndIsWoken) {
  auto first = open();
  auto second = join(*first);
  ASSERT_TRUE(second);
  const bool apart = run_on(0);
  ASSERT_EQ(push(*first, 10), PushResult::taken);
  first->flush();
  if (apart) run_on(1);
  ASSERT_EQ(second->receive(now, 64).size(), 1U);
  ASSERT_TRUE(second->receive(now, 64).empty());
  if (apart) {
    EXPECT_EQ(second->next_deadline(), now) << "it looks again and again at first";
  }
  if (apart) run_on(0);
  (void)second->receive(now, 64);
  EXPECT_GE(second->next_deadline(), now + Duration::millis(20)) << "both on one processor";
  pass(Duration::millis(5));
  (void)second->receive(now, 64);
  EXPECT_GE(second->next_deadline(), now + Duration::millis(20));
  EXPECT_FALSE(readable(*second));
  const std::uint64_t wakes = first->counters().wakes_out;
  first->advance(now);
  ASSERT_EQ(push(*first, 10), PushResult::taken);
  first->flush();
  EXPECT_TRUE(readable(*second));
  EXPECT_EQ(first->counters().wakes_out, wakes + 1);
  ASSERT_EQ(push(*first, 10), PushResult::taken);
  first->flush();
  EXPECT_EQ(first->counters().wakes_out, wakes + 1) << "one is enough";
  EXPECT_EQ(second->receive(now, 64).size(), 2U);
  EXPECT_FALSE(readable(*second));
}

// Whatever becomes of a wake-up, also through a peer that takes the question back.
TEST_F(ShmLinkTest, LooksAgainThoughNobodyWokeIt) {
  auto first = open();
  auto second = join(*first);
  ASSERT_TRUE(second);
  pass(Duration::millis(5));
  for (int i = 0; i < 3; ++i) (void)second->receive(now, 64);
  const Instant then = second->next_deadline();
  EXPECT_GT(then, now);
  EXPECT_LE(then, now + Duration::millis(50));
  now = then;
  second->advance(now);
  EXPECT_LE(second->next_deadline(), now) << "it does not move on with the time";
}

TEST_F(ShmLinkTest, AFullLaneWakesItsWriter) {
  auto first = open({.path = {}, .capacity = ShmMemory::kLeast});
  auto second = join(*first);
  ASSERT_TRUE(second);
  first->advance(now);
  while (push(*first, 60'000) == PushResult::taken) {
  }
  EXPECT_FALSE(first->writable());
  pass(Duration::millis(5));
  (void)first->receive(now, 64);
  EXPECT_FALSE(first->writable());
  EXPECT_GE(first->next_deadline(), now + Duration::millis(20));
  std::size_t seen = 0;
  for (int i = 0; i < 20; ++i) seen += second->receive(now, 64).size();
  EXPECT_EQ(seen, first->counters().frames_out);
  EXPECT_TRUE(readable(*first));
  (void)first->receive(now, 64);
  EXPECT_TRUE(first->writable());
  EXPECT_EQ(push(*first, 60'000), PushResult::taken);
}

// Frames that come with the peer wait until link_up() has said so: a stack drops them before.
TEST_F(ShmLinkTest, TheFirstFrameComesAfterTheLink) {
  auto first = open();
  ASSERT_TRUE(first);
  for (int i = 0; i < 50; ++i) {
    turn_until(*first, [&] { return !first->link_up(); });
    seen = false;
    std::jthread peer([&] {
      auto second = open();
      if (!second || push(*second, 10) != PushResult::taken) return;
      second->flush();
      for (int wait = 0; wait < 5000 && !seen; ++wait) usleep(100);
    });
    for (int turn = 0; turn < 20'000 && !seen; ++turn) {
      pass(Duration::millis(1));
      const bool up = first->link_up();
      seen = !first->receive(now, 64).empty();
      ASSERT_TRUE(up || !seen) << "round " << i;
      usleep(10);
    }
    ASSERT_TRUE(seen) << "round " << i;
  }
}

TEST_F(ShmLinkTest, AThirdIsSentAway) {
  auto first = open();
  auto second = join(*first);
  ASSERT_TRUE(second);
  std::string why;
  std::jthread third([&] { why = error(); });
  turn_until(*first, [&] { return first->counters().refused != 0; });
  third.join();
  EXPECT_NE(why.find("two other processes"), std::string::npos) << why;
  EXPECT_TRUE(first->link_up());
}

TEST_F(ShmLinkTest, ANewPeerComes) {
  auto first = open();
  for (int i = 1; i <= 3; ++i) {
    auto second = join(*first);
    ASSERT_TRUE(second);
    EXPECT_EQ(first->counters().peers, static_cast<std::uint64_t>(i));
    ASSERT_EQ(push(*second, 1000 * static_cast<std::size_t>(i)), PushResult::taken);
    second->flush();
    EXPECT_EQ(first->receive(now, 64).size(), 1U);
    second.reset();
    EXPECT_TRUE(readable(*first));
    turn_until(*first, [&] { return !first->link_up(); });
    EXPECT_FALSE(first->link_up());
    EXPECT_LE(first->next_deadline(), now + Duration::millis(200)) << "nobody else wakes it then";
  }
}

TEST_F(ShmLinkTest, TheListenerComesBack) {
  auto first = open();
  auto second = join(*first);
  ASSERT_TRUE(second);
  first.reset();
  turn_until(*second, [&] { return !second->link_up(); });
  EXPECT_FALSE(second->link_up());
  first = open();
  ASSERT_TRUE(first && first->listens());
  for (int i = 0; i < 1000 && !second->link_up(); ++i) {
    pass(Duration::millis(20));
    (void)second->receive(now, 64);
    (void)first->receive(now, 64);
  }
  ASSERT_TRUE(second->link_up() && first->link_up());
  ASSERT_EQ(push(*second, 500), PushResult::taken);
  second->flush();
  EXPECT_EQ(first->receive(now, 64).size(), 1U);
}

// A process that is killed leaves the link down, its socket behind, and nothing else.
TEST_F(ShmLinkTest, AKilledListenerIsReplaced) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    auto opened = open_shm({.path = path});
    (void)!write(ready[1], opened ? "y" : "n", 1);
    for (Instant t = now; opened; t = t + Duration::millis(1)) {
      (void)(*opened)->receive(t, 64);
      usleep(500);
    }
    _exit(1);
  }
  char word = 0;
  ASSERT_EQ(read(ready[0], &word, 1), 1);
  ASSERT_EQ(word, 'y');
  auto second = open();
  ASSERT_TRUE(second && !second->listens());
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  const auto began = std::chrono::steady_clock::now();
  turn_until(*second, [&] { return !second->link_up(); });
  EXPECT_FALSE(second->link_up());
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(1));
  struct stat about{};
  EXPECT_EQ(stat(path.c_str(), &about), 0) << "left behind";
  auto first = open();
  EXPECT_TRUE(first && first->listens());
  close(ready[0]);
  close(ready[1]);
}

TEST_F(ShmLinkTest, PathsThatAreTakenAreNamed) {
  std::ofstream(path) << "text";
  EXPECT_NE(error().find("is no socket"), std::string::npos) << error();
  unlink(path.c_str());
  const std::string here = path;
  path = directory + "/missing/link";
  EXPECT_NE(error().find("directory must exist"), std::string::npos) << error();
  path = std::string(200, 'x');
  EXPECT_NE(error().find("1 to 107"), std::string::npos) << error();
  path = here;
}

/// Somebody at the path who says what it likes.
class Impostor {
 public:
  explicit Impostor(const std::string& path) {
    fd = OwnedFd{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, path.size());
    EXPECT_EQ(bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(fd.get(), 4), 0);
  }
  OwnedFd accept() const { return OwnedFd{::accept4(fd.get(), nullptr, nullptr, SOCK_CLOEXEC)}; }
  OwnedFd fd;
};

TEST_F(ShmLinkTest, GreetingsThatAreWrongAreNamed) {
  const auto memory = ShmMemory::create(ShmMemory::kLeast);
  ASSERT_TRUE(memory.has_value());
  ShmHello good;
  good.capacity = ShmMemory::kLeast;
  good.mtu = 1500;
  struct Case {
    const char* part;
    ShmHello hello;
    int memory;
  };
  std::vector<Case> cases(6, {"", good, memory->fd()});
  cases[0].part = "version 9";
  cases[0].hello.version = 9;
  cases[1].part = "no tidewire";
  cases[1].hello.magic = 1;
  cases[2].part = "size";
  cases[2].hello.capacity *= 2;
  cases[3].part = "size";
  cases[3].memory = -1;
  cases[4].part = "MTU";
  cases[4].hello.mtu = 67;
  cases[5].part = "could not make";
  cases[5].hello.welcome = ShmWelcome::failed;
  const Impostor there(path);
  for (const Case& c : cases) {
    std::string why;
    std::jthread opener([&] { why = error(); });
    const OwnedFd peer = there.accept();
    EXPECT_TRUE(shm_send_hello(peer.get(), c.hello, c.memory));
    opener.join();
    EXPECT_NE(why.find(c.part), std::string::npos) << c.part << ": " << why;
  }
}

// The other side has the memory and may write what it likes there: the link goes down.
TEST_F(ShmLinkTest, APeerThatBreaksTheRulesIsCutOff) {
  auto first = open();
  for (int i = 1; i <= 2; ++i) {
    const OwnedFd socket = shm_connect(path);
    ASSERT_TRUE(socket);
    turn_until(*first, [&] { return first->link_up(); });
    auto greeting = shm_receive_hello(socket.get(), 1000);
    ASSERT_TRUE(greeting.has_value());
    auto memory = ShmMemory::open(std::move(greeting->memory), greeting->hello.capacity);
    ASSERT_TRUE(memory.has_value());
    if (i == 1) {
      memory->lane(1).control->head = 63;
    } else {
      memory->lane(0).control->tail = 65;
      EXPECT_EQ(push(*first, 100), PushResult::taken);
      for (int n = 0; n < 5000 && push(*first, 1400) == PushResult::taken; ++n) {
      }
      EXPECT_FALSE(first->writable());
    }
    for (int n = 0; n < 3; ++n) EXPECT_TRUE(first->receive(now, 64).empty());
    EXPECT_FALSE(first->link_up());
    EXPECT_EQ(first->counters().broken, static_cast<std::uint64_t>(i));
    EXPECT_TRUE(first->writable());
  }
}

}  // namespace
}  // namespace tidewire::device
