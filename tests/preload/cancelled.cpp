// Threads that are cancelled while they wait in accept(), more than the library of `run --preload`
// has room for; then connections are accepted all the same. Prints one line for each; the output
// must be the same with and without.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

namespace {

constexpr int kThreads = 700;  // the library has 512 places
constexpr int kAtOnce = 50;

int listener = -1;

void* wait_for_ever(void*) {
  ::accept(listener, nullptr, nullptr);
  return nullptr;
}

int cancel_some(int count) {
  pthread_t threads[kAtOnce];
  for (int i = 0; i < count; ++i) pthread_create(&threads[i], nullptr, wait_for_ever, nullptr);
  ::usleep(30'000);
  int cancelled = 0;
  for (int i = 0; i < count; ++i) {
    pthread_cancel(threads[i]);
    void* result = nullptr;
    pthread_join(threads[i], &result);
    cancelled += result == PTHREAD_CANCELED ? 1 : 0;
  }
  return cancelled;
}

bool accepts_one(const sockaddr_in& to) {
  const int client = ::socket(AF_INET, SOCK_STREAM, 0);
  if (::connect(client, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) return false;
  sockaddr_in own{};
  socklen_t size = sizeof own;
  ::getsockname(client, reinterpret_cast<sockaddr*>(&own), &size);
  sockaddr_in told{};
  size = sizeof told;
  const int fd = ::accept(listener, reinterpret_cast<sockaddr*>(&told), &size);
  const bool same = fd >= 0 && size == sizeof told && told.sin_port == own.sin_port &&
                    told.sin_addr.s_addr == own.sin_addr.s_addr;
  ::close(fd);
  ::close(client);
  return same;
}

}  // namespace

int main() {
  listener = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::bind(listener, reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0) return 1;
  ::listen(listener, 64);
  socklen_t size = sizeof name;
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&name), &size);
  std::printf("before %d\n", accepts_one(name));
  int cancelled = 0;
  for (int i = 0; i < kThreads; i += kAtOnce) cancelled += cancel_some(kAtOnce);
  std::printf("cancelled %d of %d\n", cancelled, kThreads);
  for (int i = 0; i < 3; ++i) std::printf("after %d\n", accepts_one(name));
  return 0;
}
