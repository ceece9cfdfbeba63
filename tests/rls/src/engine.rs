//! Counting, by the `limitador` crate. What is here is in which order it is asked.

use std::collections::{BTreeSet, HashMap};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use limitador::counter::Counter;
use limitador::limit::{Context, Limit};
use limitador::reservation::ReservationId;
use limitador::storage::in_memory::InMemoryStorage;
use limitador::storage::redis::AsyncRedisStorage;
use limitador::storage::{AsyncCounterStorage, Authorization, CounterStorage};
use limitador::{AsyncRateLimiter, CheckResult, RateLimiter};
use tokio::sync::{Mutex, MutexGuard};

use crate::configured::Limits;
use crate::{Manner, Trouble};

/// A question whose storage answers later than this was given up by whoever asked, so that nothing is counted for it.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// So many counters are kept in memory.
const CAPACITY: u64 = 1_000_000;

/// A unit of Envoy's protocol, with its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Second = 1,
    Minute = 2,
    Hour = 3,
    Day = 4,
    Month = 5,
    Year = 6,
    Week = 7,
}

impl Unit {
    const ALL: [(Unit, &str, u64); 7] = [
        (Unit::Second, "second", 1),
        (Unit::Minute, "minute", 60),
        (Unit::Hour, "hour", 3600),
        (Unit::Day, "day", 86_400),
        (Unit::Month, "month", 86_400 * 30),
        (Unit::Year, "year", 86_400 * 365),
        (Unit::Week, "week", 86_400 * 7),
    ];

    pub fn named(name: &str) -> Option<Unit> {
        let row = Unit::ALL.iter().find(|row| row.1.eq_ignore_ascii_case(name));
        row.map(|row| row.0)
    }

    pub fn numbered(number: i32) -> Option<Unit> {
        Unit::ALL.iter().find(|row| row.0 as i32 == number).map(|row| row.0)
    }

    /// As long as Envoy's `ratelimit` takes it to be: a month has 30 days there.
    pub fn seconds(self) -> u64 {
        Unit::ALL.iter().find(|row| row.0 == self).map_or(1, |row| row.2)
    }
}

/// So many in one unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    pub max: u32,
    pub unit: Unit,
}

/// One descriptor of a question.
#[derive(Clone, Debug)]
pub struct Asked {
    pub entries: Vec<(String, String)>,
    /// The limit that the question brings along.
    pub volume: Option<Volume>,
    pub weight: u64,
}

impl Asked {
    /// One text for its entries.
    pub fn key(&self) -> String {
        let pairs = self.entries.iter().map(|(key, value)| format!("{key}={value}"));
        pairs.collect::<Vec<_>>().join(",")
    }
}

/// What there is to say of one descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    pub is_over: bool,
    pub volume: Volume,
    pub remaining: u64,
    pub reset: Duration,
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Of each descriptor, `None` where no limit is known for it.
    Each(Vec<Option<Level>>),
    /// One for all, with the headers that tell of the limit.
    Whole { is_over: bool, headers: Vec<(String, String)> },
}

impl Verdict {
    pub fn is_over(&self) -> bool {
        match self {
            Verdict::Each(levels) => levels.iter().flatten().any(|level| level.is_over),
            Verdict::Whole { is_over, .. } => *is_over,
        }
    }
}

/// Errors of storages cannot be sent to other threads; what they say can.
fn said<T, E: std::fmt::Display>(result: Result<T, E>) -> Result<T, Trouble> {
    result.map_err(|fault| fault.to_string().into())
}

enum Store {
    Memory(InMemoryStorage),
    Redis(AsyncRedisStorage),
}

enum Limiter {
    Memory(RateLimiter),
    Redis(AsyncRateLimiter),
}

/// What counts.
pub struct Engine {
    manner: Manner,
    store: Store,
    limiter: Limiter,
    /// Limits of a file, which may change.
    pub limits: RwLock<Limits>,
    /// Whether limits of the question count.
    pub takes_limits: bool,
    /// Questions about one counter take turns, for between holding and counting it is too full by what is held twice.
    turns: Vec<Mutex<()>>,
}

/// A counter on which weight is held, until it is counted or given back.
struct Held {
    counter: Counter,
    id: ReservationId,
    weight: u64,
    is_over: bool,
}

impl Engine {
    pub async fn new(
        manner: Manner,
        redis: Option<&str>,
        limits: Limits,
    ) -> Result<Engine, Trouble> {
        let (store, limiter) = match redis {
            None => (
                Store::Memory(InMemoryStorage::new(CAPACITY)),
                Limiter::Memory(RateLimiter::new(CAPACITY)),
            ),
            Some(url) => {
                let storage = said(AsyncRedisStorage::new(url).await)?;
                let limiter = AsyncRateLimiter::new_with_storage(Box::new(storage.clone()));
                (Store::Redis(storage), Limiter::Redis(limiter))
            }
        };
        if let Limits::List(list) = &limits {
            for limit in list {
                match &limiter {
                    Limiter::Memory(limiter) => limiter.add_limit(limit.clone()),
                    Limiter::Redis(limiter) => limiter.add_limit(limit.clone()),
                };
            }
        }
        let turns = (0..256).map(|_| Mutex::default()).collect();
        let limits = RwLock::new(limits);
        Ok(Engine { manner, store, limiter, limits, takes_limits: true, turns })
    }

    /// Answers a question with `now`, which says in which window it falls, and counts it if it is granted.
    pub async fn ask(
        &self,
        domain: &str,
        asked: &[Asked],
        hits: u64,
        now: SystemTime,
    ) -> Result<Verdict, Trouble> {
        match self.manner {
            Manner::Exact | Manner::Ratelimit => self.each(domain, asked, now).await,
            Manner::Limitador => self.whole(domain, asked, hits).await,
        }
    }

    async fn each(
        &self,
        domain: &str,
        asked: &[Asked],
        now: SystemTime,
    ) -> Result<Verdict, Trouble> {
        let begun = Instant::now();
        let seconds = now.duration_since(UNIX_EPOCH)?.as_secs();
        let volumes: Vec<Option<Volume>> = asked
            .iter()
            .map(|each| each.volume.or_else(|| self.configured(domain, each)))
            .collect();
        let _turns = self.turns(asked).await;
        let mut held = Vec::new();
        for (each, volume) in asked.iter().zip(&volumes) {
            let Some(volume) = volume else { continue };
            let mut counter = counter(domain, &each.key(), *volume, seconds)?;
            let id = ReservationId::new();
            let is_over = self.hold(&mut counter, &id, each.weight).await?;
            held.push(Held { counter, id, weight: each.weight, is_over });
        }
        // Whoever asked has gone: nothing of it may be counted.
        let is_late = begun.elapsed() > PATIENCE;
        let counts = !is_late
            && match self.manner {
                Manner::Exact | Manner::Limitador => held.iter().all(|each| !each.is_over),
                Manner::Ratelimit => true,
            };
        for each in &held {
            if counts {
                self.count(each).await?;
            }
            if !each.is_over {
                self.release(each).await?;
            }
        }
        if is_late {
            return Err("the storage was too slow".into());
        }
        let mut held = held.into_iter();
        Ok(Verdict::Each(
            volumes
                .into_iter()
                .map(|volume| Some(level(volume?, &held.next()?, seconds)))
                .collect(),
        ))
    }

    fn configured(&self, domain: &str, asked: &Asked) -> Option<Volume> {
        match &*self.limits.read().unwrap_or_else(PoisonError::into_inner) {
            Limits::Tree(tree) => tree.limit(domain, &asked.entries),
            Limits::None | Limits::List(_) => None,
        }
    }

    async fn turns(&self, asked: &[Asked]) -> Vec<MutexGuard<'_, ()>> {
        // In one order for all, so that no two wait for each other.
        let places: BTreeSet<usize> =
            asked.iter().map(|each| place(&each.key(), self.turns.len())).collect();
        let mut turns = Vec::new();
        for place in places {
            if let Some(turn) = self.turns.get(place) {
                turns.push(turn.lock().await);
            }
        }
        turns
    }

    /// Holds the weight, and says whether that would be too much, which holds nothing.
    async fn hold(
        &self,
        counter: &mut Counter,
        id: &ReservationId,
        weight: u64,
    ) -> Result<bool, Trouble> {
        let mut counters = vec![counter.clone()];
        let window = counter.window();
        let authorization = match &self.store {
            Store::Memory(store) => said(store.reserve(&mut counters, id, weight, weight, window))?,
            Store::Redis(store) => {
                said(store.reserve(&mut counters, id, weight, weight, window).await)?
            }
        };
        if let Some(filled) = counters.pop() {
            *counter = filled;
        }
        Ok(matches!(authorization, Authorization::Limited(_)))
    }

    async fn count(&self, held: &Held) -> Result<(), Trouble> {
        match &self.store {
            Store::Memory(store) => said(store.update_counter(&held.counter, held.weight))?,
            Store::Redis(store) => said(store.update_counter(&held.counter, held.weight).await)?,
        }
        Ok(())
    }

    async fn release(&self, held: &Held) -> Result<(), Trouble> {
        let counters = std::slice::from_ref(&held.counter);
        match &self.store {
            Store::Memory(store) => said(store.release_reservation(counters, &held.id))?,
            Store::Redis(store) => said(store.release_reservation(counters, &held.id).await)?,
        };
        Ok(())
    }

    /// As Limitador's server does it.
    async fn whole(&self, domain: &str, asked: &[Asked], hits: u64) -> Result<Verdict, Trouble> {
        let descriptors: Vec<HashMap<String, String>> =
            asked.iter().map(|each| each.entries.iter().cloned().collect()).collect();
        let mut context = Context::default();
        context.list_binding("descriptors".to_owned(), descriptors);
        let mut result: CheckResult = match &self.limiter {
            Limiter::Memory(limiter) => {
                said(limiter.check_rate_limited_and_update(&domain.into(), &context, hits))?
            }
            Limiter::Redis(limiter) => {
                said(limiter.check_rate_limited_and_update(&domain.into(), &context, hits).await)?
            }
        };
        let mut headers: Vec<_> = result.response_header().into_iter().collect();
        headers.sort();
        Ok(Verdict::Whole { is_over: result.limited, headers })
    }
}

fn place(key: &str, places: usize) -> usize {
    let hash = key.bytes().fold(14_695_981_039_346_656_037_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(1_099_511_628_211)
    });
    usize::try_from(hash % places as u64).unwrap_or(0)
}

/// The counter of a key in the window of this second.
fn counter(domain: &str, key: &str, volume: Volume, seconds: u64) -> Result<Counter, Trouble> {
    let length = volume.unit.seconds();
    let limit = Limit::new(domain, volume.max.into(), length, vec![], [said("key".try_into())?]);
    let start = seconds - seconds % length;
    let values = HashMap::from([("key".to_owned(), format!("{key}@{start}"))]);
    said(Counter::new(limit, &values.into()))?.ok_or_else(|| "a counter without its key".into())
}

fn level(volume: Volume, held: &Held, seconds: u64) -> Level {
    let length = volume.unit.seconds();
    Level {
        is_over: held.is_over,
        volume,
        remaining: held.counter.remaining().unwrap_or(0),
        reset: Duration::from_secs(length - seconds % length),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, UNIX_EPOCH};

    use super::{Asked, Engine, Unit, Verdict, Volume};
    use crate::Manner;
    use crate::configured::{Limits, read};

    fn asked(counter: &str, max: u32, weight: u64) -> Asked {
        let entries = [("policy", "p"), ("counter", counter), ("caller", "c")];
        Asked {
            entries: entries.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec(),
            volume: Some(Volume { max, unit: Unit::Minute }),
            weight,
        }
    }

    async fn engine(manner: Manner) -> Engine {
        Engine::new(manner, None, Limits::default()).await.unwrap()
    }

    /// Each as (over, remaining, seconds until reset).
    async fn ask(engine: &Engine, asked: &[Asked], second: u64) -> Vec<(bool, u64, u64)> {
        let now = UNIX_EPOCH + Duration::from_secs(second);
        match engine.ask("mcp", asked, 1, now).await.unwrap() {
            Verdict::Each(levels) => levels
                .into_iter()
                .flatten()
                .map(|level| (level.is_over, level.remaining, level.reset.as_secs()))
                .collect(),
            Verdict::Whole { .. } => panic!(),
        }
    }

    #[tokio::test]
    async fn all_or_none_is_counted() {
        let engine = engine(Manner::Exact).await;
        let both = [asked("a", 10, 2), asked("b", 3, 2)];
        assert_eq!(ask(&engine, &both, 600).await, [(false, 8, 60), (false, 1, 60)]);
        assert_eq!(ask(&engine, &both, 615).await, [(false, 6, 45), (true, 1, 45)]);
        // What was held for `a` was given back.
        assert_eq!(ask(&engine, &[asked("a", 10, 8)], 620).await, [(false, 0, 40)]);
        assert_eq!(ask(&engine, &[asked("a", 10, 1)], 620).await, [(true, 0, 40)]);
        assert_eq!(ask(&engine, &[asked("a", 10, 0)], 620).await, [(false, 0, 40)]);
    }

    #[tokio::test]
    async fn a_window_is_a_whole_unit() {
        let engine = engine(Manner::Exact).await;
        assert_eq!(ask(&engine, &[asked("a", 1, 1)], 659).await, [(false, 0, 1)]);
        assert_eq!(ask(&engine, &[asked("a", 1, 1)], 659).await, [(true, 0, 1)]);
        assert_eq!(ask(&engine, &[asked("a", 1, 1)], 660).await, [(false, 0, 60)]);
    }

    #[tokio::test]
    async fn envoys_own_counts_what_it_refuses() {
        let engine = engine(Manner::Ratelimit).await;
        let both = [asked("a", 10, 2), asked("b", 1, 2)];
        assert_eq!(ask(&engine, &both, 600).await, [(false, 8, 60), (true, 1, 60)]);
        assert_eq!(ask(&engine, &[asked("a", 10, 1)], 600).await, [(false, 7, 60)]);
        assert_eq!(ask(&engine, &[asked("b", 1, 1)], 600).await, [(true, 0, 60)]);
    }

    #[tokio::test]
    async fn the_same_counter_twice_counts_twice() {
        let engine = engine(Manner::Exact).await;
        let twice = [asked("a", 3, 2), asked("a", 3, 2)];
        assert!(ask(&engine, &twice, 600).await.iter().any(|level| level.0));
        assert_eq!(ask(&engine, &[asked("a", 3, 3)], 600).await, [(false, 0, 60)]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn never_one_too_many() {
        let engine = Arc::new(engine(Manner::Exact).await);
        let callers = (0..40).map(|_| {
            let engine = engine.clone();
            tokio::spawn(async move {
                let mut admitted = 0;
                for _ in 0..50 {
                    admitted += u32::from(!ask(&engine, &[asked("a", 777, 1)], 600).await[0].0);
                }
                admitted
            })
        });
        let mut admitted = 0;
        for caller in callers.collect::<Vec<_>>() {
            admitted += caller.await.unwrap();
        }
        assert_eq!(admitted, 777);
    }

    #[tokio::test]
    async fn a_descriptor_without_a_limit_is_not_counted() {
        let engine = engine(Manner::Exact).await;
        let free = Asked { volume: None, ..asked("a", 0, 1) };
        assert_eq!(ask(&engine, &[free], 600).await, []);
    }

    #[tokio::test]
    async fn limitador_finds_its_limits_by_any_descriptor() {
        // As `mcp-policy render --for limitador` writes them.
        let limits = read(
            r#"[{"namespace": "mcp", "max_value": 2, "seconds": 60, "name": "p/b",
            "conditions": ["(size(descriptors) > 0 && descriptors[0].counter == 'b') || (size(descriptors) > 1 && descriptors[1].counter == 'b')"],
            "variables": ["descriptors[0].counter == 'b' ? descriptors[0].caller : descriptors[1].caller"]}]"#,
        );
        let engine = Engine::new(Manner::Limitador, None, limits.unwrap()).await.unwrap();
        let both = [asked("a", 0, 1), asked("b", 0, 1)];
        let mut over = Vec::new();
        for _ in 0..3 {
            over.push(engine.ask("mcp", &both, 1, UNIX_EPOCH).await.unwrap().is_over());
        }
        assert_eq!(over, [false, false, true]);
        let mut other = both.clone();
        other[1].entries[2].1 = "d".to_owned();
        assert!(!engine.ask("mcp", &other, 1, UNIX_EPOCH).await.unwrap().is_over());
        // A call that does not count there, and another domain.
        assert!(!engine.ask("mcp", &both[..1], 1, UNIX_EPOCH).await.unwrap().is_over());
        assert!(!engine.ask("other", &both, 1, UNIX_EPOCH).await.unwrap().is_over());
    }
}
