//! A rate limit service for tests: Envoy's protocol in front of Kuadrant's engine.
//!
//! It answers `envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit` and counts with the `limitador` crate, in memory
//! or in Redis. It is what the end-to-end tests and the benchmark put behind Envoys, and nothing else: a service for use is
//! Limitador's own server, or Envoy's `ratelimit`. Like whom it answers is `RLS_MANNER`:
//!
//! | manner | limits | a question with several | windows | says for each |
//! |---|---|---|---|---|
//! | `exact` | of the question (`limit`), or of a file | all or none, also with many services on one Redis | whole units since 1970 | code, limit, remaining, reset |
//! | `ratelimit` | the same | each counted, also what is over, as Envoy's `ratelimit` does | whole units since 1970 | the same |
//! | `limitador` | of a file alone | none is counted if one is over; on Redis looked at first and counted then, as Limitador's server does | from the first call | nothing: one code, and headers |
//!
//! Environment: `RLS_PORTS` (where it answers, several with commas, so that one Envoy can be cut off), `RLS_CONTROL` (a port
//! for tests, see `control`), `RLS_REDIS` (an address such as `redis://127.0.0.1:6379`; else in memory), `RLS_MANNER`,
//! `RLS_LIMITS` (a file of limits, JSON: Limitador's list, or Envoy's `ratelimit` domain), `RLS_OVERRIDES=ignore` (only those).

#![allow(clippy::disallowed_methods, reason = "it is no part of the product, and has a clock")]

mod answer;
mod configured;
mod control;
mod doors;
mod engine;
mod wire;

use std::env;
use std::error::Error;
use std::sync::Arc;

use answer::Answerer;
use control::Control;
use doors::Doors;
use engine::Engine;
use tokio_stream::wrappers::ReceiverStream;

type Trouble = Box<dyn Error + Send + Sync>;

/// Like whom it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Exact,
    Ratelimit,
    Limitador,
}

impl Manner {
    fn named(name: &str) -> Result<Manner, Trouble> {
        match name {
            "exact" => Ok(Manner::Exact),
            "ratelimit" => Ok(Manner::Ratelimit),
            "limitador" => Ok(Manner::Limitador),
            _ => Err(format!("RLS_MANNER={name}: exact, ratelimit or limitador").into()),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Trouble> {
    let manner = Manner::named(&env::var("RLS_MANNER").unwrap_or_else(|_| "exact".to_owned()))?;
    let limits = match env::var("RLS_LIMITS") {
        Ok(file) => configured::read(&std::fs::read_to_string(file)?)?,
        Err(_) => configured::Limits::default(),
    };
    let redis = env::var("RLS_REDIS").ok();
    let ports: Vec<u16> = env::var("RLS_PORTS")
        .map_err(|_| "RLS_PORTS: on which ports to answer")?
        .split(',')
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let mut engine = Engine::new(manner, redis.as_deref(), limits).await?;
    engine.takes_limits = env::var("RLS_OVERRIDES").as_deref() != Ok("ignore");
    let (doors, incoming) = Doors::open(&ports).await?;
    let control = Arc::new(Control::new(doors));
    let engine = Arc::new(engine);
    if let Ok(port) = env::var("RLS_CONTROL") {
        control::serve(port.parse()?, control.clone(), engine.clone()).await?;
    }
    tonic::transport::Server::builder()
        .add_service(Answerer { engine, control })
        .serve_with_incoming(ReceiverStream::new(incoming))
        .await?;
    Ok(())
}
