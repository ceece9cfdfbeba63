//! Whether session ids mean something, and the secrets that make them so.

use super::environment::Environment;
use crate::session::Seals;

/// Whether session ids can be counted by.
#[derive(Clone, Debug)]
pub enum Sessions {
    /// A session id is the caller's own invention: `session` means the caller.
    Untrusted,
    /// The server refuses ids that it did not issue.
    Trusted,
    /// Session ids are sealed to their callers.
    Pinned(Pins),
}

/// How session ids are sealed.
#[derive(Clone, Debug)]
pub struct Pins {
    /// The environment variables of the VM that hold the secrets: the first must be there, the others may.
    pub variables: Vec<Box<str>>,
    /// The keys, once the secrets have been read.
    pub seals: Option<Seals>,
}

impl Sessions {
    /// Reads the secrets that the configuration names.
    ///
    /// # Errors
    /// What is wrong, and the cure.
    pub fn unlock(&mut self, audience: &str, environment: &Environment) -> Result<(), String> {
        let Sessions::Pinned(pins) = self else { return Ok(()) };
        environment.needs("sessions.pin needs a secret", &pins.variables)?;
        let secrets = environment.secrets(&pins.variables, "sessions.pin")?;
        pins.seals = Seals::new(&secrets, audience);
        Ok(())
    }
}
