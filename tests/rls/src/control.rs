//! How tests make it misbehave, and what it tells them: lines of text on a port, an answer of JSON to each.
//!
//! - `be BEHAVIOUR`: answers to questions are so from now on (see [`Behaviour`])
//! - `shut PORT`, `mute PORT`, `open PORT`
//! - `limits JSON`: the limits of its file are these from now on, as Envoy's `ratelimit` reads them
//! - `told`: how many questions, answers and faults there were, and what was granted by key
//! - `questions`: the last ones, as they were read
//! - `forget`: begins both anew; counts stay

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::configured;
use crate::doors::{Door, Doors};
use crate::engine::Engine;

/// How questions are answered. Each but `ResetEarly`, `Silent`, `Status` and `Unlimited` counts first, as a service would whose answer goes astray.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// `ok`
    #[default]
    Right,
    /// `slow MILLISECONDS`
    Slow(u64),
    /// `silent`: no answer ever
    Silent,
    /// `garbage`: bytes that are no message
    Garbage,
    /// `cut`: a message that ends in the middle of a field
    CutShort,
    /// `empty`: a message without any field, which reads as the code UNKNOWN
    Empty,
    /// `code NUMBER`: this as the overall code
    Code(i32),
    /// `fewer`: a status too few
    Fewer,
    /// `contradiction`: the overall code is OK, each status OVER_LIMIT
    Contradiction,
    /// `unlimited`: counts nothing, for it knows no limit, as Envoy's `ratelimit` does without a file for the domain
    Unlimited,
    /// `huge`: a megabyte that is well formed
    Huge,
    /// `http`: no gRPC, but the page of a proxy that has no server
    Http,
    /// `status NUMBER`: a gRPC error
    Status(i32),
    /// `reset`: counts, and resets the connection
    Reset,
    /// `reset-early`: resets the connection, and counts nothing
    ResetEarly,
}

impl FromStr for Behaviour {
    type Err = String;

    fn from_str(text: &str) -> Result<Behaviour, String> {
        let (word, number) = text.split_once(' ').unwrap_or((text, ""));
        let number = || number.parse::<i32>().map_err(|fault| format!("{text}: {fault}"));
        Ok(match word {
            "ok" => Behaviour::Right,
            "slow" => Behaviour::Slow(number()?.unsigned_abs().into()),
            "silent" => Behaviour::Silent,
            "garbage" => Behaviour::Garbage,
            "cut" => Behaviour::CutShort,
            "empty" => Behaviour::Empty,
            "code" => Behaviour::Code(number()?),
            "fewer" => Behaviour::Fewer,
            "contradiction" => Behaviour::Contradiction,
            "unlimited" => Behaviour::Unlimited,
            "huge" => Behaviour::Huge,
            "http" => Behaviour::Http,
            "status" => Behaviour::Status(number()?),
            "reset" => Behaviour::Reset,
            "reset-early" => Behaviour::ResetEarly,
            _ => return Err(format!("{text}: no behaviour")),
        })
    }
}

/// What was asked and answered.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Told {
    pub questions: u64,
    pub ok: u64,
    pub over: u64,
    pub faults: u64,
    /// Weight by key, of questions that were answered with OK.
    pub granted: BTreeMap<String, u64>,
}

/// One question as it was read.
#[derive(Clone, Debug, Serialize)]
pub struct Question {
    pub domain: String,
    pub hits_addend: u32,
    pub descriptors: Vec<Descriptor>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Descriptor {
    pub entries: Vec<(String, String)>,
    /// How many in which unit, by the unit's number.
    pub limit: Option<(u32, i32)>,
    pub hits_addend: Option<u64>,
    pub is_negative_hits: bool,
}

const KEPT: usize = 200;

/// What tests set and read.
pub struct Control {
    behaviour: Mutex<Behaviour>,
    doors: Doors,
    told: Mutex<Told>,
    questions: Mutex<VecDeque<Question>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Control {
    pub fn new(doors: Doors) -> Control {
        Control {
            behaviour: Mutex::default(),
            doors,
            told: Mutex::default(),
            questions: Mutex::default(),
        }
    }

    pub fn behaviour(&self) -> Behaviour {
        *lock(&self.behaviour)
    }

    pub fn tell(&self, change: impl FnOnce(&mut Told)) {
        change(&mut lock(&self.told));
    }

    pub fn keep(&self, question: Question) {
        let mut questions = lock(&self.questions);
        if questions.len() == KEPT {
            questions.pop_front();
        }
        questions.push_back(question);
    }

    fn obey(&self, line: &str, engine: &Engine) -> Result<String, String> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let door = |door: Door| {
            let port = rest.parse().map_err(|fault| format!("{line}: {fault}"))?;
            match self.doors.set(port, door) {
                true => Ok("true".to_owned()),
                false => Err(format!("{line}: no such port")),
            }
        };
        let json = |value: Result<String, serde_json::Error>| value.map_err(|f| f.to_string());
        match word {
            "be" => {
                *lock(&self.behaviour) = rest.parse()?;
                Ok("true".to_owned())
            }
            "shut" => door(Door::Shut),
            "mute" => door(Door::Muted),
            "open" => door(Door::Open),
            "limits" => {
                let limits = configured::read(rest).map_err(|fault| fault.to_string())?;
                *engine.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
                Ok("true".to_owned())
            }
            "told" => json(serde_json::to_string(&*lock(&self.told))),
            "questions" => json(serde_json::to_string(&*lock(&self.questions))),
            "forget" => {
                *lock(&self.told) = Told::default();
                lock(&self.questions).clear();
                Ok("true".to_owned())
            }
            _ => Err(format!("{line}: no such command")),
        }
    }
}

/// Takes commands on this port.
pub async fn serve(port: u16, control: Arc<Control>, engine: Arc<Engine>) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream, control.clone(), engine.clone()));
        }
    });
    Ok(())
}

async fn converse(
    mut stream: TcpStream,
    control: Arc<Control>,
    engine: Arc<Engine>,
) -> io::Result<()> {
    let (from, mut into) = stream.split();
    let mut lines = BufReader::new(from).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = control
            .obey(&line, &engine)
            .unwrap_or_else(|problem| serde_json::json!({ "error": problem }).to_string());
        into.write_all(format!("{answer}\n").as_bytes()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Behaviour;

    #[test]
    fn behaviours_have_words() {
        assert_eq!("slow 20".parse(), Ok(Behaviour::Slow(20)));
        assert_eq!("code 9".parse(), Ok(Behaviour::Code(9)));
        assert_eq!("reset-early".parse(), Ok(Behaviour::ResetEarly));
        assert!("slow".parse::<Behaviour>().is_err());
        assert!("sleepy".parse::<Behaviour>().is_err());
    }
}
