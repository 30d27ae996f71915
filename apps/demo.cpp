// tidewire demo: fetch files over a bad link and show what happens.
#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "apps/commands.hpp"
#include "apps/failure.hpp"
#include "apps/sha256.hpp"
#include "apps/web_server.hpp"
#include "report/units.hpp"
#include "runtime/clock.hpp"

namespace tidewire::apps {

namespace {

constexpr std::size_t kBig = 20'000'000;
constexpr std::size_t kSmall = 2'000'000;

/// A directory of our own that goes with us.
class ScratchDirectory {
 public:
  ScratchDirectory() {
    const char* base = std::getenv("TMPDIR");
    path_ = std::string(base != nullptr ? base : "/tmp") + "/tidewire-demo-XXXXXX";
    if (mkdtemp(path_.data()) == nullptr) {
      throw Failure("cannot make a directory for the demo in " + path_ + ": " +
                    std::strerror(errno));
    }
  }
  ~ScratchDirectory() {
    for (const char* name : {"file", "log"}) (void)unlink((path_ + "/" + name).c_str());
    (void)rmdir(path_.c_str());
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  std::string file() const { return path_ + "/file"; }
  std::string log() const { return path_ + "/log"; }

 private:
  std::string path_;
};

std::string hash_file(const std::string& path) {
  Sha256 hash;
  std::ifstream file(path, std::ios::binary);
  std::vector<char> buffer(std::size_t{1} << 16);
  while (file.read(buffer.data(), static_cast<std::streamsize>(buffer.size())), file.gcount() > 0) {
    hash.update(as_bytes(buffer.data(), static_cast<std::size_t>(file.gcount())));
  }
  return hash.finish();
}

struct Fetch {
  std::string net;
  std::size_t size = 0;
  std::uint64_t seed = 0;
  bool print = false;
};

class Demo {
 public:
  Demo() : server_(kBig), show_progress_(isatty(STDERR_FILENO) != 0) {}

  int run() {
    fmt::print("A web server of the demo listens on 127.0.0.1:{} of this host.\n", server_.port());
    fmt::print("\n1. curl fetches {} over 50 Mbit/s with a round trip of 40 ms and 0.1 % loss:\n",
               report::format_bytes(kBig));
    bool good = fetch({"rate=50mbit delay=20ms loss=0.1%", kBig, 7, false});
    show_summary();

    const Fetch lossy{"rate=50mbit delay=20ms loss=1%", kSmall, 7, true};
    fmt::print("\n2. {} at 1 % loss, every packet printed; here some of the lines:\n",
               report::format_bytes(kSmall));
    good = fetch(lossy) && good;
    good = show_lines() && good;
    const std::set<std::string> first = lost_packets();
    show_summary();

    fmt::print("\n3. The same once more, with the same seed:\n");
    good = fetch(lossy) && good;
    const std::set<std::string> second = lost_packets();
    good = compare(first, second) && good;
    fmt::print("\n{}\n", good ? "Everything arrived intact." : "Something is wrong, see above.");
    return good ? 0 : 1;
  }

 private:
  bool fetch(const Fetch& fetch) {
    const std::string url = fmt::format("http://localhost:{}/{}", server_.port(), fetch.size);
    std::vector<std::string> words{"tidewire", "run",    "--net",
                                   fetch.net,  "--seed", std::to_string(fetch.seed)};
    if (fetch.print) words.emplace_back("--print");
    words.insert(words.end(), {"--", "curl", "--silent", "--show-error", "--max-time", "60",
                               "--output", scratch_.file(), url});
    fmt::print("   $ tidewire run --net '{}' --seed {}{} -- curl -o file {}\n", fetch.net,
               fetch.seed, fetch.print ? " --print" : "", url);
    std::fflush(stdout);
    (void)unlink(scratch_.file().c_str());
    const Instant start = runtime::Clock::now();
    const int status = execute(words, fetch.size, start);
    const Duration took = runtime::Clock::now() - start;
    log_ = read_log();
    if (status != 0) {
      fmt::print("   FAILED with status {}:\n", status);
      const std::size_t from = log_.size() > 5 ? log_.size() - 5 : 0;
      for (std::size_t i = from; i < log_.size(); ++i) fmt::print("   {}\n", log_[i]);
      return false;
    }
    Sha256 hash;
    hash.update(server_.content(fetch.size));
    const std::string sent = hash.finish();
    const std::string arrived = hash_file(scratch_.file());
    fmt::print("   {} in {}, SHA-256 {}: {}\n", report::format_bytes(fetch.size),
               report::format_duration(took), arrived.substr(0, 16),
               sent == arrived ? "equal" : "DIFFERENT");
    return sent == arrived;
  }

  int execute(const std::vector<std::string>& words, std::size_t size, Instant start) {
    std::vector<char*> argv;
    for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    const std::string log = scratch_.log();
    const pid_t child = fork();
    if (child < 0) throw Failure(std::string("cannot start a process: ") + std::strerror(errno));
    if (child == 0) {
      const int fd = open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
      if (fd >= 0) dup2(fd, STDERR_FILENO);
      execv("/proc/self/exe", argv.data());
      _exit(kOwnFailure);
    }
    int status = 0;
    const Instant limit = start + Duration::seconds(90);
    while (waitpid(child, &status, WNOHANG) == 0) {
      poll(nullptr, 0, 100);
      progress(size, start);
      if (runtime::Clock::now() > limit) kill(child, SIGKILL);
    }
    if (show_progress_) fmt::print(stderr, "\r{:60}\r", "");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  void progress(std::size_t size, Instant start) const {
    if (!show_progress_) return;
    struct stat file{};
    if (stat(scratch_.file().c_str(), &file) != 0) return;
    const auto got = static_cast<std::uint64_t>(file.st_size);
    fmt::print(stderr, "\r   {:3} %  {:10}  {:12}", got * 100 / size, report::format_bytes(got),
               report::format_rate(got, runtime::Clock::now() - start));
    std::fflush(stderr);
  }

  std::vector<std::string> read_log() const {
    std::vector<std::string> lines;
    std::ifstream file(scratch_.log());
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
  }

  void show_summary() const {
    const auto start = std::ranges::find_if(
        log_, [](const std::string& line) { return line.starts_with("tidewire: "); });
    for (auto line = start; line != log_.end(); ++line) fmt::print("   {}\n", *line);
  }

  /// The first lines that contain `what`, at most `most`, after the one numbered `from`.
  std::size_t show(const std::string& what, const std::regex& pattern, std::size_t from,
                   std::size_t most) {
    std::size_t shown = 0;
    std::size_t last = from;
    for (std::size_t i = from; i < log_.size() && shown < most; ++i) {
      if (!std::regex_search(log_[i], pattern)) continue;
      if (shown++ == 0) fmt::print("   {}:\n", what);
      // Options make the lines long and are not what is shown here.
      fmt::print("     {}\n",
                 std::regex_replace(log_[i], std::regex(", options \\[[^\\]]*\\]"), ""));
      last = i + 1;
    }
    if (shown == 0) {
      fmt::print("   {}: NOT FOUND\n", what);
      missing_ = true;
    }
    return last;
  }

  bool show_lines() {
    missing_ = false;
    const std::size_t open =
        show("the three-way handshake", std::regex("Flags \\[(S|S\\.|\\.)\\]"), 0, 3);
    const std::size_t lost =
        show("a packet that the link drops", std::regex("\\*\\*\\* lost"), open, 1);
    (void)show("what is sent again, and why", std::regex("\\[retransmission"), lost, 1);
    show_close();
    return !missing_;
  }

  /// Both FINs and their acknowledgements: the lines around the last state changes.
  void show_close() {
    std::size_t first_fin = 0;
    while (first_fin < log_.size() && log_[first_fin].find("Flags [F") == std::string::npos) {
      ++first_fin;
    }
    (void)show("the four-way close",
               std::regex("Flags \\[F|FIN-WAIT|CLOSE-WAIT|LAST-ACK|TIME-WAIT"),
               first_fin == 0 ? 0 : first_fin - 1, 10);
  }

  std::set<std::string> lost_packets() const {
    std::set<std::string> lost;
    const std::regex pattern(" <  IP .*(\\*\\*\\* lost \\(packet \\d+ of flow \\d+\\))");
    std::smatch match;
    for (const std::string& line : log_) {
      if (std::regex_search(line, match, pattern)) lost.insert(match[1]);
    }
    return lost;
  }

  /// How many packets a direction has varies a little with the real clock; ordinals that only one
  /// of the two runs has reached do not count.
  static bool compare(std::set<std::string> first, std::set<std::string> second) {
    const auto ordinal = [](const std::string& text) {
      return std::stoull(text.substr(text.find("packet ") + 7));
    };
    const auto highest = [&](const std::set<std::string>& all) {
      std::uint64_t most = 0;
      for (const std::string& text : all) most = std::max<std::uint64_t>(most, ordinal(text));
      return most;
    };
    const std::uint64_t common = std::min(highest(first), highest(second));
    const auto beyond = [&](const std::string& text) { return ordinal(text) > common; };
    std::erase_if(first, beyond);
    std::erase_if(second, beyond);
    fmt::print("   packets lost on the way to curl: {} in both runs, {}\n", first.size(),
               first == second ? "the same ones" : "but DIFFERENT ones");
    return first == second && !first.empty();
  }

  ScratchDirectory scratch_;
  WebServer server_;
  bool show_progress_;
  bool missing_ = false;
  std::vector<std::string> log_;
};

}  // namespace

void add_demo(CLI::App& app, int& status) {
  CLI::App* command =
      app.add_subcommand("demo", "Fetch files over a bad link, twice, and show what happens");
  command->footer("Needs curl. Brings its own web server; takes about 20 seconds.");
  command->callback([&status] { status = Demo().run(); });
}

}  // namespace tidewire::apps
