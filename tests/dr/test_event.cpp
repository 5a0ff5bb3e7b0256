#include <doctest/doctest.h>
#include <flatland/dr/event.h>

#include "tests/support/errors.h"
#include "tests/support/tensors.h"

#include <regex>
#include <sstream>

using namespace flatland;
using namespace flatland::test;

namespace {

Event epoch_event(int epoch, bool report) {
  Event event;
  event.kind = Event::Kind::epoch_finished;
  event.text = "main, second";
  event.epoch = epoch;
  event.epochs = 10;
  event.report = report;
  event.loss = 1.5;
  event.components = {{"a", 1.25}, {"b", 0.25}};
  return event;
}

Event event_of(Event::Kind kind, std::string text) {
  Event event;
  event.kind = kind;
  event.text = std::move(text);
  return event;
}

}  // namespace

TEST_CASE("the log reads as ParaDime's, with the time on every line") {
  std::ostringstream out;
  const Listener log = log_to(out);
  CHECK(log(event_of(Event::Kind::stage_started, "computing global relations 'rel'")));
  CHECK(log(event_of(Event::Kind::stage_finished, "computing global relations 'rel'")));
  CHECK(log(event_of(Event::Kind::phase_started, "main")));
  CHECK(log(epoch_event(1, true)));
  CHECK(log(epoch_event(2, false)));
  CHECK(log(event_of(Event::Kind::warning, "something")));
  std::string text = out.str();
  const std::regex time(R"((^|\n)\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}: )");
  text = std::regex_replace(text, time, "$1");
  CHECK(text ==
        "computing global relations 'rel'\nbeginning training phase 'main'\nloss after epoch 0: 1.5\n"
        "warning: something\n");
}

TEST_CASE("the history is a table") {
  std::ostringstream out;
  const Listener history = csv_history_to(out);
  history(event_of(Event::Kind::phase_started, "main"));
  history(epoch_event(1, true));
  history(epoch_event(2, false));
  CHECK(out.str() ==
        "phase,epoch,loss,components\n\"main, second\",0,1.5,a=1.25;b=0.25\n\"main, "
        "second\",1,1.5,a=1.25;b=0.25\n");
}

TEST_CASE("progress stays on one line until a phase ends") {
  std::ostringstream out;
  const Listener progress = progress_to(out);
  progress(event_of(Event::Kind::stage_started,
                    "a long stage text that must be blanked out, all of it, by what follows"));
  progress(epoch_event(5, false));
  CHECK(!contains(out.str(), "\n"));
  CHECK(contains(out.str(), "5/10"));
  CHECK(contains(out.str(), "###############..............."));
  progress(event_of(Event::Kind::phase_finished, "main"));
  CHECK(out.str().back() == '\n');
}

TEST_CASE("listeners combine; any of them can stop") {
  int heard = 0;
  const Listener count = [&](const Event&) { ++heard; };
  const Listener stop = [](const Event& event) { return event.epoch < 3; };
  const Listener both = all_of({stop, count, Listener()});
  CHECK(both(epoch_event(2, false)));
  CHECK(!both(epoch_event(3, false)));
  CHECK(heard == 2);
  CHECK(!static_cast<bool>(Listener()));
}
