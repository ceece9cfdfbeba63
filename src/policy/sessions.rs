//! Whether session ids mean something, and the secrets that make them so.

use crate::session::{LEAST_SECRET_BYTES, Seals};

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
    /// Reads the secrets that the configuration names; `read` looks a variable up in the VM's environment.
    ///
    /// # Errors
    /// What is wrong, and the cure.
    pub fn unlock(
        &mut self,
        audience: &str,
        read: impl Fn(&str) -> Option<Vec<u8>>,
    ) -> Result<(), String> {
        let Sessions::Pinned(pins) = self else { return Ok(()) };
        let first = pins.variables.first().map(|name| &**name).unwrap_or_default();
        let cure = "set it in vm_config.environment_variables";
        if read(first).is_none() {
            return Err(format!(
                "sessions.pin needs a secret, and the environment of the VM has no `{first}`; help: {cure}"
            ));
        }
        let secrets: Vec<Vec<u8>> = pins.variables.iter().filter_map(|name| read(name)).collect();
        pins.seals = Seals::new(&secrets, audience);
        if pins.seals.is_none() {
            return Err(format!(
                "a secret of sessions.pin is shorter than {LEAST_SECRET_BYTES} bytes"
            ));
        }
        Ok(())
    }
}
