#include "comm/watch/peer_watch.h"

#include <algorithm>
#include <ctime>
#include <exception>
#include <future>
#include <optional>
#include <sstream>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "comm/descriptors.h"
#include "comm/proof.h"
#include "comm/sockets.h"
#include "comm/watch/own_sleep.h"
#include "comm/watch/peer_link.h"
#include "core/error.h"
#include "core/host_name.h"
#include "core/printable.h"

namespace gradwire {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using Tcp = asio::ip::tcp;

constexpr std::size_t kHostBytes = 64;
constexpr std::size_t kContactBytes = 1024;
constexpr std::chrono::seconds kVerdictGrace(5);
// A rank that hears that another gives up may be about to do so itself, over an error that they all
// met at once: then its own error is what it should end with.
constexpr std::chrono::milliseconds kOwnErrorGrace(300);

// Strangers have that long to prove that they are none, and only so many are heard at once.
constexpr std::chrono::seconds kGreeting(15);
constexpr std::ptrdiff_t kMostGreetings = 128;
constexpr std::chrono::milliseconds kBackOff(100);

Tensor text_tensor(Context& cx, const std::string& text, std::size_t bytes) {
  std::vector<std::int32_t> words(bytes / 4, 0);
  text.copy(reinterpret_cast<char*>(words.data()), bytes - 1);
  return Tensor::from(cx, {static_cast<std::int64_t>(words.size())}, words);
}
// Of `bytes` at `begin`, whatever a peer has put there.
std::string text_at(const Tensor& t, std::size_t begin, std::size_t bytes) {
  const auto words = t.host<std::int32_t>();
  const std::string_view all(reinterpret_cast<const char*>(words.data()), t.bytes());
  const std::string_view text = all.substr(begin, bytes);
  return std::string(text.substr(0, text.find('\0')));
}

std::vector<std::string> gather_hosts(Context& cx, Communicator& comm) {
  Tensor mine = text_tensor(cx, host_name(), kHostBytes);
  Tensor all = Tensor::zeros(cx, {mine.numel() * comm.size()}, DType::kI32);
  comm.all_gather(mine, all, cx.stream)->wait(cx.stream);
  std::vector<std::string> hosts;
  for (int r = 0; r < comm.size(); ++r)
    hosts.push_back(
        printable_word(text_at(all, kHostBytes * static_cast<std::size_t>(r), kHostBytes)));
  return hosts;
}

}  // namespace

// Rank 0 holds a link to every other rank, the others hold one to rank 0. Lines:
//   prove NONCE          from rank 0, first
//   hello RANK NONCE PROOF  the answer
//   welcome PROOF        from rank 0, once all ranks are there
//   bye                  either way: the end that follows is no loss
//   absent SENTENCE      instead, if not all have come in time
//   stop                 to rank 0, and from it instead of the welcome: a stop was requested
//   news SENTENCE        from rank 0, before the welcome: who lets the others wait
//   lost RANK SENTENCE   that rank is lost; rank 0 passes it on
//   quits RANK SENTENCE  that rank gives up; rank 0 passes it on
class PeerWatch::Impl {
 public:
  Impl(Context& cx, Communicator& comm, OnLost on_lost, std::chrono::milliseconds timeout,
       MeetingHooks hooks)
      : rank_(comm.rank()),
        size_(comm.size()),
        silence_(timeout),
        on_lost_(std::move(on_lost)),
        hooks_(std::move(hooks)),
        links_(static_cast<std::size_t>(comm.size())) {
    if (size_ == 1) return;
    if (rank_ == 0) check_descriptors(size_ - 1, fmt::format("peer watch: {} ranks", size_));
    hosts_ = gather_hosts(cx, comm);
    Tensor contact = text_tensor(cx, rank_ == 0 ? listen() : "", kContactBytes);
    comm.broadcast(contact, 0, cx.stream)->wait(cx.stream);
    if (rank_ == 0) {
      accept_next();
    } else {
      connect(text_at(contact, 0, kContactBytes));
    }
    thread_ = std::thread([this] { io_.run(); });
    await_all(timeout);
  }
  ~Impl() { stop(); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  // Writes `line` to all peers. From then on nothing that they do is news.
  void say_last(const std::string& line) {
    if (!thread_.joinable()) return;
    on_thread([&] {
      reported_ = leaving_ = true;
      write_to_all(line, -1);
    });
  }
  void quit(const std::string& why) { say_last(news("quits", rank_, why)); }
  int rank() const { return rank_; }

 private:
  void stop() {
    io_.stop();
    if (thread_.joinable()) thread_.join();
  }
  // Runs `task` between two events of the thread, and waits for it.
  template <class F>
  void on_thread(F&& task) {
    std::packaged_task<void()> packaged(std::forward<F>(task));
    std::future<void> done = packaged.get_future();
    asio::post(io_, std::move(packaged));
    done.get();
  }

  // Rank 0 alone decides that somebody has stayed away, or that all stop, and tells the others;
  // they give up by themselves only if it does not.
  void await_all(std::chrono::milliseconds timeout) {
    using Clock = std::chrono::steady_clock;
    std::future<std::string> start = start_.get_future();
    const Clock::time_point begin = Clock::now();
    Clock::time_point deadline = begin + timeout + (rank_ == 0 ? 0s : kVerdictGrace);
    bool asked = false, named = false;
    OwnSleep own_sleep;
    while (start.wait_for(kMeetingTick) != std::future_status::ready) {
      const Clock::time_point now = Clock::now();
      deadline += own_sleep.look(now);
      if (!asked && hooks_.stop()) {
        asked = true;
        deadline = std::min(deadline, now + (rank_ == 0 ? 0s : kMeetingStop));
        on_thread([this] { request_stop(); });
      }
      if (!named && now - begin > kMeetingSilence) {
        named = true;
        on_thread([this] { name_missing(); });
      }
      if (now < deadline) continue;
      if (asked) on_thread([this] { settle(kStopped); });
      on_thread([this] { fail_to_start(describe_missing()); });
    }
    const std::string problem = start.get();
    if (problem.empty()) return;
    stop();
    if (problem == kStopped) throw MeetingStopped();
    throw Error(ErrorKind::kComm, problem);
  }
  // Here or, by a rank's word, anywhere.
  void request_stop() {
    write_to_all("stop", -1);
    if (rank_ == 0) settle(kStopped);
  }
  void name_missing() {
    if (settled_ || rank_ != 0) return;
    const std::string text = describe_missing();
    hooks_.tell(text);
    write_to_all("news " + text, -1);
  }
  // Ends the wait for all ranks, once: well, or with what is wrong. Then nothing more is news: the
  // others leave as well.
  void settle(const std::string& problem) {
    if (std::exchange(settled_, true)) return;
    reported_ = !problem.empty();
    start_.set_value(problem);
  }
  void fail_to_start(const std::string& problem) {
    if (settled_) return;
    if (rank_ == 0) write_to_all("absent " + problem, -1);
    settle(problem);
  }

  void write_to_all(const std::string& line, int except) {
    for (const auto& link : links_) {
      if (link && link->peer != except) link->write(line);
    }
  }

  // What the others need to connect: "PORT TOKEN ADDRESS ADDRESS ...".
  std::string listen() {
    const bool one_host =
        std::all_of(hosts_.begin(), hosts_.end(), [&](const auto& h) { return h == hosts_[0]; });
    const auto address = one_host ? asio::ip::address_v4::loopback() : asio::ip::address_v4::any();
    acceptor_.emplace(io_, Tcp::endpoint(address, 0));
    token_ = to_hex(make_nonce());
    const std::vector<std::string> reachable =
        one_host ? std::vector<std::string>{"127.0.0.1"} : own_addresses();
    return fmt::format("{} {} {}", acceptor_->local_endpoint().port(), token_,
                       fmt::join(reachable, " "));
  }

  std::shared_ptr<PeerLink> add_link(Tcp::socket socket, int peer) {
    auto link = std::make_shared<PeerLink>(
        std::move(socket), silence_,
        [this](PeerLink& l, const std::string& line) { hear(l, line); },
        [this](PeerLink& l) { closed(l); });
    if (peer >= 0) adopt(peer, link);
    link->read();
    return link;
  }
  void adopt(int peer, const std::shared_ptr<PeerLink>& link) {
    link->peer = peer;
    links_[static_cast<std::size_t>(peer)] = link;
  }

  void accept_next() {
    std::erase_if(guests_, [](const auto& g) { return g.expired(); });
    if (std::ssize(guests_) >= kMostGreetings) return accept_later();
    acceptor_->async_accept([this](const boost::system::error_code& error, Tcp::socket socket) {
      if (error == asio::error::operation_aborted || settled_) return;
      if (error) return accept_later();  // as if descriptors have run out: they come free again
      ask(add_link(std::move(socket), -1));
      accept_next();
    });
  }
  void accept_later() {
    back_off_.expires_after(kBackOff);
    back_off_.async_wait([this](const boost::system::error_code& error) {
      if (!error && !settled_) accept_next();
    });
  }
  void ask(const std::shared_ptr<PeerLink>& guest) {
    guest->nonce = make_nonce();
    guest->write("prove " + to_hex(guest->nonce));
    guests_.push_back(guest);
    const auto deadline = std::make_shared<asio::steady_timer>(io_, kGreeting);
    deadline->async_wait([deadline, late = std::weak_ptr(guest)](const auto&) {
      const auto link = late.lock();
      if (link && link->peer < 0) link->close();
    });
  }
  // All have met: nobody else has business here.
  void close_door() {
    if (!acceptor_) return;
    boost::system::error_code ignored;
    acceptor_->close(ignored);
    for (const auto& guest : std::exchange(guests_, {})) {
      const auto link = guest.lock();
      if (link && link->peer < 0) link->close();
    }
  }

  // What a rank says who answers `asked`, and what rank 0 answers then.
  Digest proof(std::string_view says, int rank, const Digest& nonce, const Digest& asked) const {
    return prove(token_, {says, fmt::format("{}", rank), bytes_of(nonce), bytes_of(asked)});
  }
  void introduce(PeerLink& rank_0, std::istream& in) {
    std::string asked;
    in >> asked;
    const Digest nonce = make_nonce();
    rank_0.nonce = digest_from_hex(asked).value_or(Digest{});
    rank_0.write(fmt::format("hello {} {} {}", rank_, to_hex(nonce),
                             to_hex(proof(kConnects, rank_, nonce, rank_0.nonce))));
    expected_welcome_ = to_hex(proof(kAccepts, rank_, nonce, rank_0.nonce));
  }

  void connect(const std::string& contact) {
    std::istringstream in(contact);
    unsigned short port = 0;
    std::string address;
    in >> port >> token_;
    std::vector<std::string> addresses;
    while (in >> address)
      addresses.push_back(address);
    Tcp::socket socket(io_);
    if (!connect_to_any(socket, addresses, port)) return;
    add_link(std::move(socket), 0);
  }

  static std::string rest_of(std::istream& in) {
    std::string rest;
    std::getline(in >> std::ws, rest);
    return printable_line(rest);
  }
  void hear(PeerLink& link, const std::string& line) {
    std::istringstream in(line);
    std::string verb;
    in >> verb;
    if (link.peer < 0) {
      welcome(link, verb, in);
    } else if (verb == "prove") {
      introduce(link, in);
    } else if (verb == "welcome") {
      std::string known;
      in >> known;
      settle(known == expected_welcome_ ? "" : "peer watch: who answered is not rank 0");
    } else if (verb == "absent") {
      settle(rest_of(in));
    } else if (verb == "news") {
      hooks_.tell(rest_of(in));
    } else if (verb == "stop") {
      if (settled_) return;
      if (rank_ == 0) return request_stop();
      settle(kStopped);
    } else if (verb == "bye") {
      links_[static_cast<std::size_t>(link.peer)].reset();
      link.close();
    } else if (verb == "lost" || verb == "quits") {
      int rank = -1;
      std::string why;
      in >> rank >> std::ws;
      std::getline(in, why);
      why = printable_line(why);
      report(verb, rank, why, link.peer);
    }
  }

  // Strangers are shown out.
  void welcome(PeerLink& link, const std::string& verb, std::istream& in) {
    int peer = -1;
    std::string nonce_text, proof_text;
    in >> peer >> nonce_text >> proof_text;
    const auto nonce = digest_from_hex(nonce_text), shown = digest_from_hex(proof_text);
    const bool known = verb == "hello" && nonce && shown && peer > 0 && peer < size_ &&
                       same_digest(*shown, proof(kConnects, peer, *nonce, link.nonce)) &&
                       !links_[static_cast<std::size_t>(peer)];
    if (!known) return link.close();
    adopt(peer, link.shared_from_this());
    welcomes_.resize(links_.size());
    welcomes_[static_cast<std::size_t>(peer)] = to_hex(proof(kAccepts, peer, *nonce, link.nonce));
    if (++arrived_ == size_ - 1) welcome_all();
  }
  void welcome_all() {
    close_door();
    for (const auto& link : links_) {
      if (link) link->write("welcome " + welcomes_[static_cast<std::size_t>(link->peer)]);
    }
    settle("");
  }

  void closed(const PeerLink& link) {
    if (link.peer < 0) return;
    const auto peer = static_cast<std::size_t>(link.peer);
    links_[peer].reset();
    const std::string why = fmt::format(
        "rank {} on host {} was lost at {:%H:%M:%S}: its connection closed without "
        "a goodbye",
        peer, hosts_[peer], fmt::localtime(std::time(nullptr)));
    if (!settled_) return fail_to_start("peer watch: " + why);
    report("lost", link.peer, why, link.peer);
  }

  static std::string news(const std::string& verb, int rank, std::string why) {
    std::replace(why.begin(), why.end(), '\n', ' ');
    return fmt::format("{} {} {}", verb, rank, why);
  }
  void report(const std::string& verb, int rank, const std::string& why, int heard_from) {
    if (std::exchange(reported_, true)) return;
    if (rank_ == 0) write_to_all(news(verb, rank, why), heard_from);
    if (verb == "lost") return on_lost_(rank, why);
    grace_.expires_after(kOwnErrorGrace);
    grace_.async_wait([this, rank, why](const boost::system::error_code& error) {
      if (!error && !leaving_) on_lost_(rank, why);
    });
  }

  std::string describe_missing() const {
    if (rank_ != 0) return "peer watch: no welcome from rank 0 on host " + hosts_[0];
    std::vector<std::string> missing;
    for (std::size_t r = 1; r < links_.size(); ++r) {
      if (!links_[r]) missing.push_back(fmt::format("{} ({})", r, hosts_[r]));
    }
    return fmt::format("peer watch: {} of {} ranks connected; missing: {}", arrived_ + 1, size_,
                       fmt::join(missing, ", "));
  }

  const int rank_;
  const int size_;
  const std::chrono::milliseconds silence_;  // of a host, after which it is lost
  const OnLost on_lost_;
  const MeetingHooks hooks_;
  std::vector<std::string> hosts_;  // by rank
  std::string token_;
  static constexpr const char* kStopped = "stopped";
  static constexpr std::string_view kConnects = "gradwire watch connects";
  static constexpr std::string_view kAccepts = "gradwire watch accepts";
  asio::io_context io_;
  asio::executor_work_guard<asio::io_context::executor_type> keep_running_{io_.get_executor()};
  std::optional<Tcp::acceptor> acceptor_;
  std::promise<std::string> start_;  // the wait for all ranks is over: well, or what is wrong
  // Of the thread, once it runs.
  std::vector<std::shared_ptr<PeerLink>> links_;  // by rank; rank 0's only, above rank 0
  std::vector<std::weak_ptr<PeerLink>> guests_;   // who has come, known or not
  std::vector<std::string> welcomes_;             // by rank, rank 0's: said once all are there
  std::string expected_welcome_;
  int arrived_ = 0;
  bool settled_ = false;
  bool reported_ = false;
  bool leaving_ = false;  // has said its last word
  asio::steady_timer grace_{io_};
  asio::steady_timer back_off_{io_};
  std::thread thread_;
};

PeerWatch::PeerWatch(Context& cx, Communicator& comm, OnLost on_lost,
                     std::chrono::milliseconds timeout, MeetingHooks hooks)
    : impl_(std::make_unique<Impl>(cx, comm, std::move(on_lost), timeout, std::move(hooks))),
      exceptions_(std::uncaught_exceptions()) {}

PeerWatch::~PeerWatch() {
  if (std::uncaught_exceptions() > exceptions_) {
    abort(fmt::format("rank {} left with an error", impl_->rank()));
  } else {
    impl_->say_last("bye");
  }
}

void PeerWatch::abort(const std::string& why) {
  impl_->quit(why);
}

}  // namespace gradwire
