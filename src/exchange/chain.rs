//! The conversation of a server that asks for input itself, about a call that was approved: its state travels sealed, so that the
//! conversation goes on under that approval, and nothing else does.

use crate::approval::call::STATE;
use crate::approval::state::{CarriedState, CarriedStep};
use crate::json::{Bounds, Duplicates, parse_within, written};
use crate::rate::table::CallerId;
use crate::seal::Keys;
use crate::world::Random;

/// What a state is sealed with.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub(super) caller: CallerId,
    pub(super) state: CarriedState,
    pub(super) random: Random,
}

impl Chain {
    /// The state, sealed as this step. Once at most: the random bytes are used up.
    pub(super) fn seal_as(&self, keys: &Keys, step: CarriedStep) -> Option<String> {
        CarriedState { step, ..self.state.clone() }.seal(keys, self.caller, &self.random)
    }

    /// A response that asks for input, with the server's state sealed in it; `None` where the text is none.
    pub(super) fn sealed(&self, keys: &Keys, text: &[u8]) -> Option<String> {
        let text = std::str::from_utf8(text).ok()?;
        let value = parse_within(text, Duplicates::Refuse, Bounds::of_any_body()).ok()?;
        let result = value.as_object()?.member("result")?;
        let members = result.value.as_object()?;
        if members.get("resultType")?.as_str()? != "input_required" {
            return None;
        }
        let own = members.member(STATE);
        let step = CarriedStep::Chain(own.map(|own| own.raw.to_owned()));
        let sealed = written(&self.seal_as(keys, step)?);
        let at = |raw: &str| (raw.as_ptr() as usize).checked_sub(text.as_ptr() as usize);
        let (start, end, new) = match own {
            Some(own) => (at(own.raw)?, at(own.raw)?.checked_add(own.raw.len())?, sealed),
            // It has a member at least, its type.
            None => {
                let start = at(result.raw)?.checked_add(1)?;
                (start, start, format!("\"{STATE}\":{sealed},"))
            }
        };
        Some([text.get(..start)?, &new, text.get(end..)?].concat())
    }
}
