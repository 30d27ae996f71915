// Batches of frames, written to a socket that keeps their boundaries and can be full.
#include "device/backends/write_batch.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "device/factory.hpp"
#include "device/wrap/test_frames.hpp"

namespace tidewire::device {
namespace {

using namespace test;

bool io_uring_is_there() {
  io_uring_params parameters{};
  const OwnedFd ring{static_cast<int>(syscall(SYS_io_uring_setup, 2U, &parameters))};
  return static_cast<bool>(ring);
}

/// A device with the far end of its descriptor in the hands of the test.
class Batching final : public VnetDevice {
 public:
  static std::unique_ptr<Batching> make() {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) return {};
    return std::make_unique<Batching>(ends[0], ends[1]);
  }
  Batching(int ours, int theirs)
      : VnetDevice(OwnedFd{ours}, "batching", {}),
        far(OwnedFd{theirs}),
        ready(write_in_batches()) {}

  /// What has arrived next, behind its header; empty if nothing has.
  std::vector<std::byte> next() {
    std::vector<std::byte> bytes(100'000);
    const ssize_t size = read(far.get(), bytes.data(), bytes.size());
    if (size < static_cast<ssize_t>(sizeof(VnetHeader))) return {};
    bytes.resize(static_cast<std::size_t>(size));
    std::memcpy(&header, bytes.data(), sizeof header);
    bytes.erase(bytes.begin(), bytes.begin() + sizeof(VnetHeader));
    return bytes;
  }

  OwnedFd far;
  VnetHeader header;  ///< of the last frame that next() gave
  Result<void, std::string> ready;

 private:
  std::ptrdiff_t read_frame(MutBytes) noexcept override { return 0; }
};

class Batches : public testing::Test {
 protected:
  void SetUp() override {
    if (!io_uring_is_there()) GTEST_SKIP() << "io_uring is not permitted here";
    device = Batching::make();
    ASSERT_NE(device, nullptr);
    ASSERT_TRUE(device->ready.has_value()) << device->ready.error();
  }

  /// A frame of payload that stays, `number` in its sequence number.
  PushResult push(std::uint32_t number, std::size_t size, bool stays = true,
                  std::size_t region = 50'000) {
    Headers h;
    h.seq = number;
    const auto head = headers(h, size);
    std::vector<Bytes> regions;
    for (std::size_t at = 0; at < size; at += region) {
      regions.push_back(Bytes{text}.subspan(at, std::min(region, size - at)));
    }
    TxFrame frame = frame_of(h, head, regions, 1460);
    frame.payload_stays = stays;
    return device->push(frame);
  }
  static std::uint32_t number_of(const std::vector<std::byte>& frame) {
    return frame.size() < 54 ? 0 : wire::load_u32(frame.data() + 38);
  }
  void expect_next(std::uint32_t number, std::size_t size) {
    const auto frame = device->next();
    ASSERT_EQ(frame.size(), 54 + size) << number;
    EXPECT_EQ(number_of(frame), number);
    EXPECT_TRUE(std::equal(frame.begin() + 54, frame.end(), text.begin()));
  }

  std::vector<std::byte> text = pattern(64'000);
  std::unique_ptr<Batching> device;
};

TEST_F(Batches, WaitForTheFlushAndKeepTheirOrder) {
  for (std::uint32_t i = 1; i <= 5; ++i) EXPECT_EQ(push(i, 1000 * i), PushResult::taken);
  EXPECT_TRUE(device->next().empty());
  EXPECT_EQ(device->counters().frames_out, 0U);
  device->flush();
  for (std::uint32_t i = 1; i <= 5; ++i) expect_next(i, 1000 * i);
  EXPECT_EQ(device->header.gso_type, VnetHeader::kGsoTcp4);
  EXPECT_EQ(device->header.gso_size, 1460);
  EXPECT_EQ(device->counters().frames_out, 5U);
  device->flush();
  EXPECT_TRUE(device->next().empty());
  EXPECT_EQ(push(6, 10), PushResult::taken);
  device->flush();
  expect_next(6, 10);
}

TEST_F(Batches, AreWrittenWhenTheyAreLargeEnough) {
  for (std::uint32_t i = 1; i <= WriteBatch::kFrames + 3; ++i) {
    EXPECT_EQ(push(i, 100), PushResult::taken);
  }
  EXPECT_EQ(device->counters().frames_out, WriteBatch::kFrames);
  device->flush();
  for (std::uint32_t i = 1; i <= WriteBatch::kFrames + 3; ++i) expect_next(i, 100);
  EXPECT_TRUE(device->next().empty());
}

TEST_F(Batches, ReferToPayloadThatStaysAndCopyTheRest) {
  EXPECT_EQ(push(1, 100, true), PushResult::taken);
  EXPECT_EQ(push(2, 100, false), PushResult::taken);
  text[0] = std::byte{0xee};
  device->flush();
  const auto first = device->next();
  const auto second = device->next();
  ASSERT_EQ(first.size(), 154U);
  ASSERT_EQ(second.size(), 154U);
  EXPECT_EQ(first[54], std::byte{0xee}) << "TCP's text is not copied";
  EXPECT_EQ(second[54], pattern(1)[0]) << "a datagram is";
}

// Frames that do not fit into a slot, or come in too many pieces, leave behind those before them.
TEST_F(Batches, FramesTooLargeToWaitLeaveAtOnceInTheirTurn) {
  EXPECT_EQ(push(1, 100), PushResult::taken);
  EXPECT_EQ(push(2, 30'000, false), PushResult::taken);
  expect_next(1, 100);
  expect_next(2, 30'000);
  EXPECT_EQ(push(3, 100), PushResult::taken);
  EXPECT_EQ(push(4, 6000, true, 100), PushResult::taken);
  expect_next(3, 100);
  expect_next(4, 6000);
  EXPECT_EQ(push(5, 64'000, true, 2000), PushResult::taken);
  EXPECT_TRUE(device->next().empty());
  device->flush();
  expect_next(5, 64'000);
}

TEST_F(Batches, WhatFindsNoRoomIsKeptAndSentOnce) {
  std::uint32_t pushed = 0;
  while (pushed < 10'000 && push(pushed + 1, 30'000) == PushResult::taken) ++pushed;
  ASSERT_LT(pushed, 10'000U) << "the socket is never full";
  text[0] ^= std::byte{0xff};  // who was told `taken` may do with its bytes what it wants
  device->flush();
  EXPECT_FALSE(device->writable());
  EXPECT_EQ(push(pushed + 1, 10), PushResult::full);
  device->advance(Instant{} + Duration::seconds(5));
  EXPECT_GT(device->next_deadline(), Instant{} + Duration::seconds(5)) << "it is tried again";
  EXPECT_LT(device->next_deadline(), Instant{} + Duration::seconds(6));
  text[0] ^= std::byte{0xff};
  for (std::uint32_t i = 1; i <= pushed; ++i) {
    expect_next(i, 30'000);
    (void)device->writable();
  }
  EXPECT_TRUE(device->next().empty());
  EXPECT_TRUE(device->writable());
  EXPECT_EQ(device->next_deadline(), Instant::never());
  EXPECT_EQ(device->counters().frames_out, pushed);
  EXPECT_EQ(device->counters().errors_out, 0U);
}

TEST_F(Batches, WhatIsRefusedForGoodIsCountedAsLost) {
  device->far = OwnedFd{};
  signal(SIGPIPE, SIG_IGN);
  for (std::uint32_t i = 1; i <= 3; ++i) EXPECT_EQ(push(i, 100), PushResult::taken);
  device->flush();
  EXPECT_EQ(device->counters().errors_out, 3U);
  EXPECT_EQ(device->counters().frames_out, 0U);
  EXPECT_EQ(push(4, 100), PushResult::taken);
}

TEST(IoUring, IsForTapAndTunOnly) {
  OpenOptions options;
  options.io_uring = true;
  const auto device = open_device("veth:v0", options);
  ASSERT_FALSE(device.has_value());
  EXPECT_NE(device.error().find("tap:NAME"), std::string::npos) << device.error();
}

/// From now on this process gets `error` from io_uring_setup, as in a container.
bool forbid_io_uring(int error) {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{4, program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

/// What WriteBatch::open() says where io_uring_setup fails with `error`.
std::string said_after(int error) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return {};
  const OwnedFd in{ends[0]};
  const pid_t child = fork();
  if (child == 0) {
    VnetCounters counters;
    std::string text = "no seccomp here";
    if (forbid_io_uring(error)) {
      const auto batch = WriteBatch::open(ends[1], counters);
      text = batch ? "it works" : batch.error();
    }
    _exit(write(ends[1], text.data(), text.size()) < 0 ? 1 : 0);
  }
  close(ends[1]);
  char buffer[1000];
  const ssize_t size = read(in.get(), buffer, sizeof buffer);
  waitpid(child, nullptr, 0);
  return {buffer, size > 0 ? static_cast<std::size_t>(size) : 0};
}

TEST(IoUring, WhereItIsForbiddenOneLineSaysWhatToDo) {
  for (const int error : {EPERM, ENOSYS, ENOMEM}) {
    const std::string text = said_after(error);
    if (text == "no seccomp here") GTEST_SKIP() << text;
    EXPECT_NE(text.find(error_text(error)), std::string::npos) << text;
    EXPECT_NE(text.find("leave --io-uring away"), std::string::npos) << text;
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
  }
  EXPECT_NE(said_after(EPERM).find("kernel.io_uring_disabled=0"), std::string::npos);
}

}  // namespace
}  // namespace tidewire::device
