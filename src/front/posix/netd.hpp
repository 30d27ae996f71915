// The process-side half of the interception: answers the programs' socket calls and moves bytes
// between their twins and a backend. One for each run: several processes share one port space.
#pragma once

#include <sys/socket.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "front/abi/options.hpp"
#include "front/posix/backend.hpp"
#include "front/posix/features.hpp"
#include "front/posix/living.hpp"
#include "front/posix/message.hpp"
#include "front/posix/netlink.hpp"
#include "front/posix/notifiers.hpp"
#include "front/posix/socket.hpp"
#include "front/posix/task.hpp"
#include "front/posix/twin.hpp"

namespace tidewire::posix {

/// Send buffer of a program's end with a tail (Netd::leave_tail). The buffer that the byte lies in
/// stays charged to the program, up to 64 KiB: with the kernel's usual limit that alone would make
/// its end unwritable.
inline constexpr int tail_send_buffer = 212992;

/// Of SOL_SOCKET: what an accepted connection's twin has from its listener.
inline constexpr int inherited_options[] = {SO_SNDBUF, SO_RCVLOWAT, SO_OOBINLINE};

/// What happens to a call. `done`: it was answered already.
struct Outcome {
  enum class Kind : std::uint8_t { value, error, through, parked, done };
  Kind kind = Kind::value;
  std::int64_t value = 0;

  static Outcome ok(std::int64_t v = 0) { return {Kind::value, v}; }
  static Outcome error(int e) { return {Kind::error, e}; }
  static Outcome from(int e) { return e == 0 ? ok() : error(e); }
  static Outcome through() { return {Kind::through, 0}; }
  static Outcome parked() { return {Kind::parked, 0}; }
  static Outcome done() { return {Kind::done, 0}; }
};

/// A blocking call that waits; it is run again when its socket may have changed.
struct Parked {
  Call call;
  std::uint32_t serial = 0;
  Fd app;  ///< keeps the socket reachable while the caller waits
  Instant deadline = Instant::never();
  int timeout_error = 0;
  bool has_timeout = false;
  int looks = 0;             ///< how often a pending signal was seen
  std::size_t progress = 0;  ///< bytes of MSG_WAITALL that the caller has already
};

/// What the interception does not reach.
enum class Uncovered : std::uint8_t {
  io_uring,         ///< a ring can make sockets unseen
  other_listener,   ///< a seccomp listener of the program's own is refused by the kernel
  lost_privileges,  ///< setuid, setgid and file capabilities have no effect
};

struct NetdHooks {
  /// A program listens (or binds a UDP port): for the hint about unpublished ports.
  std::function<void(Transport, const Endpoint&, const std::string& program)> on_listen;
  /// A socket of `program` has this backend reference.
  std::function<void(SocketRef, const std::string& program)> on_open;
  /// Once for each program and thing.
  std::function<void(Uncovered, const std::string& program)> on_uncovered;
  /// The programs' network namespace has the interfaces of the host: what they ask of rtnetlink is
  /// the kernel's to answer.
  bool namespace_tells = false;
  /// May be empty: then a thread receives all calls.
  WatchCalls watch_calls;
  /// Programs may accept connections unseen; see native_accept.hpp. Needs Features::pidfd_getfd.
  bool native_accept = false;
};

/// A socket as its program sees it.
struct SocketUse {
  std::string program;     ///< that opened it
  pid_t pid = 0;           ///< of the process that last made a call on it, which may be gone
  int fd = -1;             ///< the number it had there
  std::size_t unread = 0;  ///< bytes handed over that the program has not read
  std::size_t unsent = 0;  ///< bytes the program has written that the backend has not taken
};

class Netd {
 public:
  /// The processes of the first program descend from `guard`.
  Netd(Backend& backend, const Features& features, Fd listener, pid_t guard, NetdHooks hooks);
  ~Netd();
  Netd(const Netd&) = delete;
  Netd& operator=(const Netd&) = delete;

  /// Serves one more program, whose processes descend from `guard`, through its notification
  /// descriptor. The guard need not descend from this process; see reach.hpp.
  void take_in(Fd listener, pid_t guard);
  /// No process of that program is left.
  void let_go(pid_t guard) { living_.remove_root(guard); }

  int descriptor() const noexcept { return epoll_.get(); }
  /// A look of the loop found that a descriptor which NetdHooks::watch_calls was called with is
  /// readable or has hung up; once for each look, process() follows.
  void receive_calls(int listener, bool readable);
  /// See Notifier: for a loop that watches these descriptors.
  void share_calls(bool shared) { notifier_.share(shared); }
  /// `readable`: false if the loop's last look was at descriptor(), too, and told of nothing there.
  /// (A look that found more than it could tell costs no event, only the order of a call and what
  /// was done before it.)
  void process(Instant now, bool readable = true);
  /// Between process() and the end of a turn: the backend may have received something.
  void frames_moved(Instant now);
  Instant next_deadline();
  bool live() const noexcept { return notifier_.live(); }
  /// A socket that its program has closed still has bytes for the backend.
  bool delivering() const;
  /// None: not a socket of a program (any more).
  std::optional<SocketUse> use_of(SocketRef ref);

 private:
  // netd.cpp: the loop
  void take_peer_events();
  void take_backend_events();
  void fetch_calls();
  void answer_calls();
  void run_timers();
  void sweep();
  void look_for_signals();
  Outcome dispatch(const Call& call);
  void finish(const Call& call, const Outcome& outcome);

  // netd_sockets.cpp: the table
  struct Target {
    Socket* socket = nullptr;
    int app = -1;  ///< a descriptor of the program's end, valid during the call
    Fd copy;
  };
  Target find(const Call& call);
  Socket* by_serial(std::uint32_t serial);
  Socket& create(Transport transport, int domain, int type, int protocol, SocketRef ref);
  void adopt(Socket& s, int app);
  void watch_peer(Socket& s, Fd peer);
  void drop_peer(Socket& s);
  Fd copy_of_app(Socket& s);
  void forget(Socket& s);
  void app_closed(Socket& s);
  void pair_for_connect(Socket& s, int app, bool with_filler);
  void leave_tail(Socket& s, int app);
  void reset_app(Socket& s, int error);
  void tell_reset(Socket& s);
  void finish_reset(Socket& s, int app);

  // netd_native.cpp
  std::size_t at_once(int backlog) const;
  std::vector<std::byte> introduction(const Socket& s);
  void mark_shut(Socket& listener);
  void restore_mark(Socket& listener, int app);
  bool may_offer(Socket& listener);
  void offer_to_starved();
  void accepted_all(Socket& listener);
  void accepted_unseen(Socket& s);
  void no_longer_offered(Socket& s);
  void tell_reset_unseen(Socket& s);
  void look_for_untold();
  Socket* recognise(const AppFd& app);
  void seek_sockets();

  // netd_park.cpp
  Outcome park(const Call& call, Socket& s, Fd app, int option_of_timeout, int timeout_error);
  void wake(Socket& s);
  void unpark(std::uint64_t id);
  void cancel(Parked& parked, int error);

  // netd_pump.cpp, netd_datagram.cpp
  void queue(Socket& s);
  void pump_queued();
  void pump(Socket& s);
  bool pump_up(Socket& s);
  ssize_t carry_up(Socket& s, std::span<const MutBytes> room);
  void reset_after_last_words(Socket& s);
  ssize_t take_bytes(Socket& s, std::span<const MutBytes> room, bool urgent);
  ssize_t take_all_but_tail(Socket& s, std::span<const MutBytes> room);
  bool widen_twin(Socket& s);
  void pump_down(Socket& s);
  void offer_connections(Socket& s);
  void backend_event(const BackendEvent& event);
  void connect_finished(Socket& s);
  bool send_urgent_down(Socket& s);
  int renew_twin(const Call& call, Socket& s, int app);
  bool pump_datagrams_up(Socket& s);
  // netd_raw.cpp
  int send_up(Socket& s, Bytes payload, const SendMeta& meta);
  std::vector<std::byte> raw_packet(const Socket& s, const Datagram& about, Bytes message);
  void take_raw_error(Socket& s);
  void pump_datagrams_down(Socket& s);
  void push_error(Socket& s, int error);
  // netd_errors.cpp
  Outcome receive_error(const Call& call, Target& t, Message& m);
  void fetch_errors(Socket& s);
  void forget_errors(Socket& s, int app);
  void drop_error_tokens(Socket& s, int app);
  void keep_error_token(Socket& s);
  void resync(Socket& s);

  // netd_netlink.cpp
  bool answers_netlink(int protocol);
  int bind_netlink(Socket& s, std::uint32_t wanted, pid_t tid);
  Outcome name_netlink(const Call& call, Socket& s);
  Outcome netlink_option(const Call& call, Socket& s);
  Outcome send_netlink(const Call& call, Socket& s, const Message& m);
  Outcome receive_netlink(const Call& call, Target& t, Message& m);
  void pump_netlink(Socket& s);
  void answer_netlink(Socket& s, Bytes request);
  std::vector<ListedSocket> list_sockets();

  // Calls, by group.
  Outcome on_socket(const Call& call);
  Outcome give_socket(const Call& call, Socket& s, Fd app, int flags);
  Outcome on_bind(const Call& call);
  Outcome on_listen(const Call& call);
  Outcome on_connect(const Call& call);
  Outcome connect_stream(const Call& call, Target& t, const Endpoint& to);
  Outcome connect_under_way(const Call& call, Target& t);
  Outcome disconnect_stream(const Call& call, Target& t);
  Outcome on_accept(const Call& call);
  void answer_accepts();
  bool both_ends_here(SocketRef connection);
  bool leads_here(SocketRef connection, const IpAddress& remote);
  std::optional<Outcome> accept_offered(const Call& call, Socket& listener, int app_listener);
  Outcome hand_out(const Call& call, Socket& s, Socket& listener, Fd& app, int flags);
  void settle_accepted(Socket& s, int app);
  void offer_again(Socket& listener, Socket& s, Fd& app);
  Outcome on_names(const Call& call);
  Outcome on_shutdown(const Call& call);
  Outcome shutdown_listener(Socket& s, int app, bool read);
  void listen_again(Socket& s, int app);
  void drain_twin(int app);
  void reset_offered(Socket& listener);
  Outcome abandon_connect(Socket& s);
  int renew_ref(Socket& s);
  Outcome on_ioctl(const Call& call);
  Outcome interface_ioctl(const Call& call, unsigned long request);
  Outcome on_setsockopt(const Call& call);
  Outcome on_getsockopt(const Call& call);
  void note_inherited(const Call& call, Socket& s);
  Outcome set_special(Socket& s, const OptionRow& row, Bytes raw, int app);
  Outcome set_pacing_rate(Socket& s, Bytes raw);
  Outcome set_buffer(Socket& s, const OptionRow& row, int value, int app);
  Result<std::vector<std::byte>, int> option_value(Socket& s, const OptionRow& row, int app);
  Result<std::vector<std::byte>, int> special_value(Socket& s, const OptionRow& row, int app);
  Result<std::vector<std::byte>, int> path_mtu(Socket& s);
  std::vector<std::byte> memory_info(Socket& s, int app);
  std::size_t unsent(Socket& s);
  Outcome last_stamp(const Call& call, Socket& s, bool nanoseconds);
  int so_error(Socket& s, int app);
  Outcome on_sendto(const Call& call);
  Outcome on_recvfrom(const Call& call);
  Outcome on_sendmsg(const Call& call);
  Outcome on_recvmsg(const Call& call);
  Outcome on_sendmmsg(const Call& call);
  Outcome on_recvmmsg(const Call& call);

  // netd_notices.cpp
  Outcome on_uncovered_call(const Call& call);
  void look_at_program(pid_t tid);
  void tell_uncovered(Uncovered what, const std::string& program);

  // Helpers of the calls.
  Result<std::vector<std::byte>, int> read_address(const Call& call, std::uint64_t at,
                                                   std::uint64_t size);
  int write_address(const Call& call, const Endpoint& e, int domain, std::uint64_t at,
                    std::uint64_t size_at);
  int write_raw_address(const Call& call, const RawAddress& raw, std::uint64_t at,
                        std::uint64_t size_at);
  int bind_retrying(Socket& s, const Endpoint& local);
  Outcome send_datagram(const Call& call, Target& t, const Message& m);
  Outcome receive_datagram(const Call& call, Target& t, Message& m);
  Outcome take_datagram(const Call& call, Target& t, Message& m);
  ssize_t send_past_twin(Socket& s, Bytes payload);
  Outcome fast_open_send(const Call& call, Target& t, const Message& m);
  Outcome stream_send(const Call& call, Target& t, const Message& m);
  Outcome stream_receive(const Call& call, Target& t, Message& m);
  Outcome send_one(const Call& call, Target& t, const Message& m);
  Outcome receive_one(const Call& call, Target& t, Message& m);
  int load_message(const Call& call, std::uint64_t at, Message& m);
  int store_message(const Call& call, std::uint64_t at, const Message& m, int domain);
  int gather(const Call& call, const Message& m, std::vector<std::byte>& out);
  bool scatter(const Call& call, const Message& m, std::size_t skip, Bytes data);
  void raise_sigpipe(const Call& call, int flags);

  Backend& backend_;
  Features features_;
  NetdHooks hooks_;
  Instant now_;
  std::uint64_t turn_ = 0;
  Fd epoll_;
  Notifiers notifier_;
  Tasks tasks_;
  Twins twins_;
  Living living_;

  std::unordered_map<std::uint32_t, std::unique_ptr<Socket>> sockets_;
  std::unordered_map<std::uint64_t, std::uint32_t> by_key_;
  std::unordered_map<SocketRef, std::uint32_t> by_ref_;
  std::uint32_t last_serial_ = 0;
  std::deque<std::uint32_t> pump_list_;
  std::deque<Call> calls_;    ///< received, not yet answered
  bool newer_calls_ = false;  ///< some may be newer than the loop's last look at descriptor()
  pid_t last_caller_ = 0;     ///< whose call was the last that the loop received
  bool closed_in_turn_ = false;
  bool closed_late_ = false;  ///< the same, since process(): no frame has moved after it
  int deferrals_ = 0;
  std::uint64_t settled_in_ = 0;  ///< the turn in which a connect() within the host is decided
  std::map<std::uint64_t, Parked> parked_;  // by a counter: oldest first
  std::uint64_t last_parked_ = 0;
  Parked* resuming_ = nullptr;  // set while a parked call is run again
  std::size_t listeners_ = 0;
  std::vector<std::uint32_t> starved_;  // listeners
  Duration offer_interval_;
  Instant next_offer_;
  std::vector<std::uint32_t> untold_;  // reset, and accepted by nobody that is known
  Duration look_interval_;
  Instant next_look_;
  Instant next_seek_;
  Instant next_sweep_ = Instant::never();
  Instant next_signal_look_ = Instant::never();
  std::vector<std::byte> scratch_;
  bool native_accept_;
  std::unordered_set<pid_t> looked_at_;
  std::set<std::pair<Uncovered, std::string>> told_;
};

}  // namespace tidewire::posix
