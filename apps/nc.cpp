// tidewire nc: netcat on this stack.
#include <fmt/core.h>
#include <unistd.h>

#include <charconv>
#include <csignal>
#include <memory>

#include "apps/commands.hpp"
#include "apps/failure.hpp"
#include "apps/nc_datagrams.hpp"
#include "apps/nc_stream.hpp"
#include "apps/signals.hpp"
#include "apps/station.hpp"
#include "runtime/clock.hpp"

namespace tidewire::apps {

namespace {

constexpr const char* kFooter =
    "Without --device it stands on a virtual host (10.0.2.15) behind a described network;\n"
    "a listener is then published on this host's 127.0.0.1 at the same port.\n"
    "The end of standard input closes the sending direction.\n"
    "Examples:\n"
    "  tidewire nc -lk 6666                       then, elsewhere: nc 127.0.0.1 6666\n"
    "  tidewire nc --net loss=5% -l 6666 > file   receive a file over a bad link\n"
    "  tidewire nc example.org 80\n"
    "  tidewire nc -u 127.0.0.1 5353\n"
    "  tidewire nc --tap tap0 --addr 192.0.2.2/24 192.0.2.1 6666 < file\n"
    "  tidewire nc --device shm:/tmp/link --addr 10.0.0.1/24 -l 6666     then, elsewhere:\n"
    "  tidewire nc --device shm:/tmp/link --addr 10.0.0.2/24 10.0.0.1 6666 < file";

struct NcOptions {
  StationOptions station;
  std::vector<std::string> words;
  bool listen = false, keep = false, udp = false, verbose = false, close_on_end = false;
  bool numeric = false;
  std::uint32_t timeout_s = 0;
  std::uint16_t source_port = 0;
};

std::uint16_t parse_port(const std::string& text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc{} || end != text.data() + text.size() || port == 0) {
    throw Failure("'" + text + "' is no port; ports are 1 to 65535", 2);
  }
  return port;
}

class Nc final : public runtime::StackOwner {
 public:
  explicit Nc(const NcOptions& options)
      : options_(options),
        input_(STDIN_FILENO, StandardStream::Use::input),
        output_(STDOUT_FILENO, StandardStream::Use::output) {}

  int run() {
    options_.station.check(2);
    parse_words();
    std::optional<gateway::PublishSpec> publish;
    if (options_.listen) {
      publish = gateway::PublishSpec{};
      publish->protocol = options_.udp ? Protocol::udp : Protocol::tcp;
      publish->host.port = port_;
      publish->target.port = port_;
    }
    station_ = Station::make(options_.station, publish, 1);
    station_->driver().set_owner(station_->stack(), this);
    Signals signals(station_->driver(), {SIGINT, SIGTERM}, [this](int number) {
      status_ = 128 + number;
      station_->driver().stop();
    });
    status_ = -1;
    const int result = options_.udp ? run_udp() : options_.listen ? run_listener() : run_client();
    stream_.reset();
    datagrams_.reset();
    if (status_ < 0) station_->drain(Duration::seconds(120));
    return status_ >= 0 ? status_ : result;
  }

  void on_event(const Event& event, Instant now) override {
    if (event.kind != Event::Kind::socket) return;
    if (event.socket == listener_) {
      accept_next(now);
    } else if (stream_ && event.socket == stream_socket_) {
      stream_->on_event(event.bits, now);
    } else if (datagrams_ && event.socket == stream_socket_) {
      datagrams_->on_event(event.bits, now);
    }
  }

 private:
  Stack& stack() { return station_->stack(); }
  Duration idle_limit() const { return Duration::seconds(options_.timeout_s); }

  void parse_words() {
    if (options_.listen) {
      if (options_.words.empty() && options_.source_port != 0) {
        port_ = options_.source_port;
        return;
      }
      if (options_.words.empty() || options_.words.size() > 2) {
        throw Failure("nc -l needs a port, for example: tidewire nc -l 6666", 2);
      }
      port_ = parse_port(options_.words.back());
      if (options_.words.size() == 2) name_ = options_.words.front();
      return;
    }
    if (options_.keep) throw Failure("nc -k needs -l", 2);
    if (options_.words.size() != 2) {
      throw Failure("nc needs a host and a port, for example: tidewire nc example.org 80", 2);
    }
    name_ = options_.words[0];
    port_ = parse_port(options_.words[1]);
  }

  void say(const std::string& line) {
    if (options_.verbose) fmt::print(stderr, "tidewire nc: {}\n", line);
  }

  SocketId open(SocketKind kind, Instant now) {
    const auto socket = stack().open(kind, Family::v4);
    if (!socket) throw Failure("no socket: " + std::string(to_string(socket.error())));
    (void)stack().set_option(*socket, SocketOption::reuse_address, 1, now);
    return *socket;
  }

  void bind(SocketId socket, std::uint16_t port, Instant now) {
    Endpoint local{IpAddress::any(Family::v4), port, 0};
    if (options_.listen && !name_.empty()) local.address = station_->resolve(name_, 1);
    const auto bound = stack().bind(socket, local, now);
    if (!bound) {
      throw Failure("cannot bind to " + to_string(local) + ": " +
                    std::string(to_string(bound.error())));
    }
  }

  std::unique_ptr<NcStream> make_stream(SocketId socket) {
    stream_socket_ = socket;
    return std::make_unique<NcStream>(station_->driver(), stack(), input_, output_, socket,
                                      idle_limit());
  }

  int run_client() {
    const Instant now = runtime::Clock::now();
    const Endpoint remote{station_->resolve(name_, 1), port_, 0};
    const SocketId socket = open(SocketKind::tcp, now);
    if (options_.source_port != 0) bind(socket, options_.source_port, now);
    const auto connected = stack().connect(socket, remote, now);
    if (!connected && connected.error() != SocketError::in_progress) {
      throw Failure("connect to " + name_ + " port " + std::to_string(port_) + ": " +
                    std::string(to_string(connected.error())));
    }
    stream_ = make_stream(socket);
    (void)station_->driver().run_until([this] { return stream_->finished(); });
    return ended(*stream_, "connect to " + name_ + " port " + std::to_string(port_));
  }

  int ended(const NcStream& stream, const std::string& what) {
    if (stream.error() == SocketError::broken_pipe) return 0;
    if (stream.error() != SocketError::none) {
      fmt::print(stderr, "tidewire nc: {}: {}\n",
                 stream.connected() ? "the connection ended" : what, to_string(stream.error()));
      return 1;
    }
    if (!stream.connected() && stream.idle_too_long()) {
      fmt::print(stderr, "tidewire nc: {}: no answer\n", what);
      return 1;
    }
    say(fmt::format("sent {} bytes, received {}", stream.totals().sent, stream.totals().received));
    return 0;
  }

  int run_listener() {
    const Instant now = runtime::Clock::now();
    listener_ = open(SocketKind::tcp, now);
    bind(listener_, port_, now);
    if (const auto listening = stack().listen(listener_, 128, now); !listening) {
      throw Failure("cannot listen on port " + std::to_string(port_) + ": " +
                    std::string(to_string(listening.error())));
    }
    say("listening; reachable at " + station_->reachable_at(port_, false));
    int result = 0;
    do {
      accept_next(now);
      (void)station_->driver().run_until([this] { return stream_ && stream_->finished(); });
      if (!stream_ || !stream_->finished()) break;  // stopped by a signal
      result = ended(*stream_, "connection");
      stream_.reset();
    } while (options_.keep);
    stack().close(listener_, runtime::Clock::now());
    return options_.keep ? 0 : result;
  }

  void accept_next(Instant now) {
    if (stream_) return;
    const auto socket = stack().accept(listener_, now);
    if (!socket) return;
    if (const auto peer = stack().remote_endpoint(*socket)) {
      say("connection from " + to_string(*peer));
    }
    stream_ = make_stream(*socket);
    stream_->on_event(stack().readiness(*socket) | kConnected, now);
  }

  int run_udp() {
    const Instant now = runtime::Clock::now();
    const SocketId socket = open(SocketKind::udp, now);
    std::optional<Endpoint> peer;
    if (options_.listen) {
      bind(socket, port_, now);
      say("waiting for datagrams; reachable at " + station_->reachable_at(port_, true));
    } else {
      (void)stack().set_option(socket, SocketOption::receive_errors, 1, now);
      peer = Endpoint{station_->resolve(name_, 1), port_, 0};
      if (options_.source_port != 0) bind(socket, options_.source_port, now);
      if (const auto connected = stack().connect(socket, peer, now); !connected) {
        throw Failure("send to " + name_ + ": " + std::string(to_string(connected.error())));
      }
    }
    stream_socket_ = socket;
    datagrams_ = std::make_unique<NcDatagrams>(station_->driver(), stack(), input_, output_, socket,
                                               peer, options_.keep, idle_limit());
    datagrams_->on_event(0, now);
    (void)station_->driver().run_until([this] { return datagrams_->finished(); });
    if (datagrams_->error() == SocketError::none) return 0;
    fmt::print(stderr, "tidewire nc: {}\n", to_string(datagrams_->error()));
    return 1;
  }

  NcOptions options_;
  StandardStream input_, output_;
  std::unique_ptr<Station> station_;
  std::string name_;
  std::uint16_t port_ = 0;
  SocketId listener_;
  SocketId stream_socket_;
  std::unique_ptr<NcStream> stream_;
  std::unique_ptr<NcDatagrams> datagrams_;
  int status_ = -1;
};

}  // namespace

void add_nc(CLI::App& app, int& status) {
  auto options = std::make_shared<NcOptions>();
  CLI::App* command = app.add_subcommand("nc", "Connect to a port or listen on one");
  command->footer(kFooter);
  command->add_option("words", options->words, "[HOST] PORT")->type_name("");
  command->add_flag("-l,--listen", options->listen, "Wait for a connection");
  command->add_flag("-k,--keep", options->keep, "With -l: take one connection after the other");
  command->add_flag("-u,--udp", options->udp, "Datagrams");
  command->add_flag("-v,--verbose", options->verbose, "Say what happens");
  command->add_flag("-n", options->numeric, "Accepted for likeness: numbers are never looked up");
  command->add_flag("-N", options->close_on_end,
                    "Accepted for likeness: the end of input always closes the sending direction");
  command->add_option("-w", options->timeout_s, "Give up after SECONDS without anything moving")
      ->type_name("SECONDS");
  command->add_option("-p", options->source_port, "Our own port")->type_name("PORT");
  options->station.add_to(*command);
  command->callback([options, &status] { status = Nc(*options).run(); });
}

}  // namespace tidewire::apps
