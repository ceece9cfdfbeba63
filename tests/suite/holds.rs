//! Holding headers: whatever happens in whatever order, nothing hangs, and nothing is forwarded unjudged.

use std::rc::Rc;

use mcp_policy::exchange::{Chunk, Event, Exchange, Flow, Holds, Step, TICK_MILLIS};
use mcp_policy::mcp::headers::Follows;
use mcp_policy::policy::compiled::Config;
use mcp_policy::policy::settings::HoldHeaders;
use mcp_policy::rate::memory::MemoryStore;
use proptest::prelude::*;

use crate::world::{World, post_headers, tools_call};

const POLICY: &str =
    r#"{"version":"1","default":"deny","tools":{"ok":{},"never":{"action":"deny"}}}"#;

/// How many exchanges are there at once.
const SEATS: usize = 6;

/// Something that happens.
#[derive(Clone, Copy, Debug)]
enum Happening {
    /// To one of the exchanges.
    To(usize, What),
    /// To the clock: it shows this much more, or less.
    Clock(i64),
    /// The clock fails, or works again.
    ClockFails(bool),
    /// The timer runs, for those who asked for it.
    Timer,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Head,
    Piece,
    Last,
    Trailers,
    HostFailed,
    Closed,
    /// A tick that nobody may have asked for.
    Tick,
}

fn happening() -> impl Strategy<Value = Happening> {
    let what = prop::sample::select(vec![
        What::Head,
        What::Head,
        What::Head,
        What::Piece,
        What::Last,
        What::Last,
        What::Trailers,
        What::HostFailed,
        What::Closed,
        What::Tick,
    ]);
    let clock = prop::sample::select(vec![0, 1, 10, 49, 50, 60, 1000, 70_000, -1, -60, -100_000]);
    prop_oneof![
        8 => (0..SEATS, what).prop_map(|(at, what)| Happening::To(at, what)),
        3 => clock.prop_map(Happening::Clock),
        1 => any::<bool>().prop_map(Happening::ClockFails),
        3 => Just(Happening::Timer),
    ]
}

fn mode() -> impl Strategy<Value = HoldHeaders> {
    prop::sample::select(vec![HoldHeaders::Auto, HoldHeaders::Always, HoldHeaders::Never])
}

fn patience(mode: HoldHeaders) -> u64 {
    if mode == HoldHeaders::Always { 1000 } else { 50 }
}

/// One exchange, and what is known of it from outside.
struct Seat {
    exchange: Exchange,
    is_allowed: bool,
    stage: Stage,
    /// What the clock showed when its headers began to be held.
    since: Option<u64>,
    ticks: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Fresh,
    /// Its headers are there, its body is not whole.
    Begun,
    /// Its body is judged, and it is on its way.
    Forwarded,
    /// It is answered or over.
    Over,
}

/// Some exchanges that know together what they know of holding.
struct Crowd {
    mode: HoldHeaders,
    seats: Vec<Seat>,
    now: u64,
    clock_fails: bool,
    /// Whether a body has come while headers were held.
    is_proven: bool,
}

impl Crowd {
    fn new(mode: HoldHeaders) -> Crowd {
        let config = Rc::new(Config::load(POLICY.as_bytes(), "").unwrap().config);
        let holds = Rc::new(Holds::new(mode));
        let seats = (0..SEATS).map(|at| Seat {
            exchange: Exchange::new(config.clone(), holds.clone()),
            is_allowed: at % 2 == 0,
            stage: Stage::Fresh,
            since: None,
            ticks: false,
        });
        Crowd { mode, seats: seats.collect(), now: 1_000_000, clock_fails: false, is_proven: false }
    }

    fn clock(&self) -> Option<u64> {
        (!self.clock_fails).then_some(self.now)
    }

    /// Hands an event to one exchange.
    fn on(&mut self, at: usize, event: Event<'_>) -> Step {
        let store = MemoryStore::default();
        let seat = &mut self.seats[at];
        let name = if seat.is_allowed { "ok" } else { "never" };
        let body = tools_call("1", name, None).into_bytes();
        let now = (!self.clock_fails).then_some(self.now);
        let world = World { body, now, ..World::new(&store) };
        let step = seat.exchange.on(&world, event);
        seat.ticks = step.ticks;
        step
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Clock(change) => self.now = self.now.saturating_add_signed(change),
            Happening::ClockFails(fails) => self.clock_fails = fails,
            Happening::Timer => {
                (0..SEATS)
                    .filter(|at| self.seats[*at].ticks)
                    .collect::<Vec<_>>()
                    .into_iter()
                    .for_each(|at| self.tick(at));
            }
            Happening::To(at, What::Head) if self.seats[at].stage == Stage::Fresh => self.begin(at),
            Happening::To(_, What::Head) => {}
            Happening::To(at, What::Piece) => self.arrive(at, Chunk::More, false),
            Happening::To(at, What::Last) => self.arrive(at, Chunk::Last, false),
            Happening::To(at, What::Trailers) => self.arrive(at, Chunk::Last, true),
            Happening::To(at, What::HostFailed) => {
                let step = self.on(at, Event::HostFailed);
                assert!(matches!(step.flow, Flow::Reply(_)) && !step.ticks);
                self.seats[at].stage = Stage::Over;
            }
            Happening::To(at, What::Closed) => {
                let step = self.on(at, Event::Closed);
                assert_eq!((step.flow, step.ticks), (Flow::Pause, false));
                self.seats[at].stage = Stage::Over;
            }
            Happening::To(at, What::Tick) => self.tick(at),
        }
    }

    fn begin(&mut self, at: usize) {
        let headers = post_headers("");
        let step = self.on(at, Event::RequestHead { headers: &headers, follows: Follows::Body });
        let held = match step.flow {
            Flow::Pause => true,
            Flow::Continue => false,
            Flow::Reply(reply) => panic!("{reply:?}"),
        };
        assert!(held || self.mode != HoldHeaders::Always, "always is always");
        assert!(!held || self.mode != HoldHeaders::Never, "never is never");
        assert!(held || !self.is_proven || self.mode == HoldHeaders::Never, "what works is done");
        // Who is held is watched, until it is proven that his body can come.
        assert_eq!(step.ticks, held && !self.is_proven);
        self.seats[at].stage = Stage::Begun;
        self.seats[at].since = self.clock();
    }

    /// A piece of a body comes, or trailers.
    fn arrive(&mut self, at: usize, chunk: Chunk, trailers: bool) {
        let Seat { stage, is_allowed, ticks, .. } = self.seats[at];
        if stage == Stage::Fresh {
            return;
        }
        self.is_proven |= ticks;
        let length = tools_call("1", if is_allowed { "ok" } else { "never" }, None).len();
        let body = Event::RequestBody { buffered: length, chunk };
        let step = self.on(at, if trailers { Event::RequestTrailers } else { body });
        assert!(!step.ticks, "its body came");
        match (stage, step.flow) {
            // What is denied, answered or over goes nowhere, and nothing goes before its end.
            (Stage::Begun, Flow::Continue) => {
                assert!(is_allowed && chunk == Chunk::Last);
                self.seats[at].stage = Stage::Forwarded;
            }
            (Stage::Begun, Flow::Reply(_)) => {
                assert!(chunk == Chunk::Last, "the reason may be that headers could not wait");
                self.seats[at].stage = Stage::Over;
            }
            (Stage::Begun, Flow::Pause) => assert_eq!(chunk, Chunk::More),
            (Stage::Over, flow) => assert_eq!(flow, Flow::Pause),
            (Stage::Forwarded, Flow::Reply(_)) => self.seats[at].stage = Stage::Over,
            (Stage::Forwarded, flow) => assert_eq!(flow, Flow::Continue),
            (Stage::Fresh, _) => {}
        }
    }

    fn tick(&mut self, at: usize) {
        let Seat { stage, since, ticks, .. } = self.seats[at];
        let now = self.clock();
        let step = self.on(at, Event::Tick);
        if !ticks {
            assert_eq!((step.flow, step.ticks), (Flow::Pause, false), "nobody holds it: {stage:?}");
            return;
        }
        assert_eq!(stage, Stage::Begun, "what is judged or over is not held");
        let waited = since.zip(now).and_then(|(since, now)| now.checked_sub(since));
        match step.flow {
            Flow::Pause => {
                assert!(waited.is_some_and(|waited| waited < patience(self.mode)), "{waited:?}");
                assert!(step.ticks);
                return;
            }
            Flow::Continue => assert_eq!(self.mode, HoldHeaders::Auto),
            Flow::Reply(reply) => {
                assert_eq!((self.mode, reply.status), (HoldHeaders::Always, 503));
                assert!(step.log.iter().any(|line| line.text.contains("stop_iteration")));
                self.seats[at].stage = Stage::Over;
            }
        }
        assert!(waited.is_none_or(|waited| waited >= patience(self.mode)), "{waited:?}");
        assert!(!step.ticks);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn every_held_request_is_released_or_refused_within_its_patience_whatever_the_order_of_events(
        mode in mode(), happenings in proptest::collection::vec(happening(), 0..60), turn in prop::sample::select(vec![0, 1000, -1_000_000]), fails in any::<bool>(),
    ) {
        let mut crowd = Crowd::new(mode);
        for happening in happenings {
            crowd.happen(happening);
        }
        // Whatever the clock does now, one patience later nobody is held any more who could be so in vain.
        crowd.happen(Happening::ClockFails(fails));
        crowd.happen(Happening::Clock(turn));
        for _ in 0..=patience(mode) / u64::from(TICK_MILLIS) {
            crowd.happen(Happening::Timer);
            crowd.happen(Happening::Clock(i64::from(TICK_MILLIS)));
        }
        crowd.happen(Happening::Timer);
        prop_assert!(crowd.seats.iter().all(|seat| !seat.ticks));
    }
}

/// Requests whose bodies a host stops together with their headers, and then the order in which they come.
fn blocked(order: &[usize]) -> Flow {
    let mut crowd = Crowd::new(HoldHeaders::Auto);
    (0..3).for_each(|at| crowd.begin(at));
    crowd.happen(Happening::Clock(50));
    crowd.happen(Happening::Timer);
    assert!(crowd.seats.iter().all(|seat| !seat.ticks), "let go");
    order.iter().for_each(|at| crowd.arrive(*at, Chunk::Last, false));
    let headers = post_headers("");
    crowd.on(5, Event::RequestHead { headers: &headers, follows: Follows::Body }).flow
}

#[test]
fn holding_is_given_up_when_bodies_follow_at_once_on_a_release() {
    assert_eq!(blocked(&[0, 1, 2]), Flow::Continue, "let go in a row, they come in a row");
    for slow in [&[2, 1, 0][..], &[1, 0, 2], &[0, 1], &[0, 2, 1], &[]] {
        assert_eq!(blocked(slow), Flow::Pause, "{slow:?}: clients that are slow prove nothing");
    }
}

#[test]
fn slow_clients_do_not_hide_that_others_are_blocked() {
    let mut crowd = Crowd::new(HoldHeaders::Auto);
    let later = |crowd: &mut Crowd, millis| {
        crowd.happen(Happening::Clock(millis));
        crowd.happen(Happening::Timer);
    };
    // The first is slow. When he is let go, it is not the next one's turn yet.
    crowd.begin(0);
    later(&mut crowd, 25);
    crowd.begin(1);
    later(&mut crowd, 25);
    assert!(!crowd.seats[0].ticks && crowd.seats[1].ticks);
    later(&mut crowd, 25);
    crowd.arrive(1, Chunk::Last, false);
    // Nor is it the turn of one who has not come yet.
    crowd.begin(2);
    later(&mut crowd, 50);
    crowd.begin(3);
    later(&mut crowd, 50);
    crowd.arrive(3, Chunk::Last, false);
    crowd.begin(4);
    later(&mut crowd, 50);
    crowd.arrive(4, Chunk::Last, false);
    let headers = post_headers("");
    let event = Event::RequestHead { headers: &headers, follows: Follows::Body };
    assert_eq!(crowd.on(5, event).flow, Flow::Continue);
}

#[test]
fn trailers_that_leave_a_late_body_behind_are_refused() {
    let reason = |flow: Flow| match flow {
        Flow::Reply(reply) => String::from_utf8(reply.body).unwrap(),
        flow @ (Flow::Continue | Flow::Pause) => format!("{flow:?}"),
    };
    let late = |proven: bool| {
        let mut crowd = Crowd::new(HoldHeaders::Auto);
        crowd.begin(0);
        crowd.happen(Happening::Clock(50));
        crowd.happen(Happening::Timer);
        if proven {
            crowd.begin(2);
            crowd.arrive(2, Chunk::Last, false);
        }
        crowd.arrive(0, Chunk::More, false);
        reason(crowd.on(0, Event::RequestTrailers).flow)
    };
    assert!(late(false).contains("headers_not_held"));
    assert_eq!(late(true), "Continue", "a slow client, where headers can wait");
}

#[test]
fn one_whose_body_has_begun_is_not_let_go_when_others_prove_that_holding_works() {
    let mut crowd = Crowd::new(HoldHeaders::Auto);
    crowd.begin(0);
    crowd.begin(2);
    crowd.arrive(2, Chunk::Last, false);
    crowd.arrive(0, Chunk::More, false);
    crowd.happen(Happening::Clock(1000));
    crowd.tick(0);
    assert!(!crowd.seats[0].ticks);
}
