//! A list as a caller sees it: the server's answer, sent through the exchange that asked for it.

use super::{SimulatedRequest, Simulator};
use crate::exchange::{Chunk, Event, Flow};
use crate::mcp::headers::Follows;

/// What a caller gets who asks for a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListSeen {
    /// This text, from the server or in its place.
    Answer(String),
    /// The request does not get to the server.
    NotAsked,
}

impl Simulator {
    /// Sends a request for a list, lets the server answer it with this text, and yields what is left of that. Nothing is counted.
    #[must_use]
    pub fn list(&self, request: &SimulatedRequest, answer: &str) -> ListSeen {
        let stage = self.clone();
        let mut world = stage.world(request, &());
        world.answer = answer;
        let (mut exchange, step) = stage.begin(request, &world);
        let seen = match step.flow {
            Flow::Continue => {
                let _ = exchange.on(&world, Event::ResponseHead { follows: Follows::Body });
                let event = Event::ResponseBody { length: answer.len(), chunk: Chunk::Last };
                let body = exchange.on(&world, event).body;
                let body = body.map(|body| String::from_utf8_lossy(&body).into_owned());
                ListSeen::Answer(body.unwrap_or_else(|| answer.to_owned()))
            }
            Flow::Pause | Flow::Reply(_) => ListSeen::NotAsked,
        };
        let _ = exchange.on(&world, Event::Closed);
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::ListSeen;
    use crate::policy::compiled::Config;
    use crate::rehearsal::{SimulatedRequest, Simulator};
    use crate::time::UnixMillis;

    #[test]
    fn a_list_is_what_the_policy_shows() {
        let policy = br#"{"version":"1","default":"deny","tools":{"a":{},"b":{"action":"deny"}},"hide":["c"]}"#;
        let simulator = Simulator::new(Config::load(policy, "").unwrap().config);
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
        let answer = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a"},{"name":"b"},{"name":"c"}]}}"#;
        let seen = simulator.list(&SimulatedRequest::new(body.to_owned(), UnixMillis(0)), answer);
        let ListSeen::Answer(seen) = seen else { panic!("{seen:?}") };
        assert!(seen.contains(r#""name":"a""#) && !seen.contains(r#""name":"c""#), "{seen}");
    }
}
