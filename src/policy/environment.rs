//! The environment variables that hold secrets, which a shell reads.

use crate::session::LEAST_SECRET_BYTES;

/// An environment, and how it is spoken of.
#[derive(Clone, Copy, Debug)]
pub struct Environment {
    /// Whose it is.
    pub owner: &'static str,
    /// How a variable comes into it.
    pub cure: &'static str,
    /// The value of a variable; `None` where it is not set.
    pub read: fn(&str) -> Option<Vec<u8>>,
}

impl Environment {
    /// The secrets in those of the variables that are set. `setting` is what names them.
    ///
    /// # Errors
    /// That one is too short.
    pub(super) fn secrets(
        &self,
        variables: &[Box<str>],
        setting: &str,
    ) -> Result<Vec<Vec<u8>>, String> {
        let mut secrets = Vec::new();
        for name in variables {
            let Some(secret) = (self.read)(name) else { continue };
            if secret.len() < LEAST_SECRET_BYTES {
                let found = secret.len();
                return Err(format!(
                    "the secret of {setting} in `{name}` has {found} bytes, at least {LEAST_SECRET_BYTES} are needed"
                ));
            }
            secrets.push(secret);
        }
        Ok(secrets)
    }

    /// What is said where `what` needs a variable that has no such `value`.
    pub(super) fn lacks(&self, what: &str, value: &str, name: &str) -> String {
        let Environment { owner, cure, .. } = self;
        format!("{what}, and the environment of {owner} has no {value}`{name}`; help: {cure}")
    }

    /// What is said unless the first of the variables is set.
    pub(super) fn needs(&self, what: &str, variables: &[Box<str>]) -> Result<(), String> {
        let first = variables.first().map(|name| &**name).unwrap_or_default();
        match (self.read)(first) {
            Some(_) => Ok(()),
            None => Err(self.lacks(what, "", first)),
        }
    }
}
