//! From the text of a configuration to a [`Config`] that can be decided with.
//!
//! There is one door, [`Config::load`], and it reports every problem at once. Nothing is ignored, defaulted or clamped in
//! silence: what is not understood is an error that names its place in the author's document.

mod compile;
pub mod diagnostic;
pub(crate) mod reader;
pub mod suggest;

use crate::json::{Duplicates, Value, parse};
use crate::matcher::regex::{Regex, Regexes};
use crate::policy::compiled::Config;
use diagnostic::{Code, Diagnostic, Severity};

/// A configuration that holds, and what is legal in it but surely not meant.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Warnings, in the order of the document.
    pub warnings: Vec<Diagnostic>,
    /// Regular expressions that are compiled when they are first needed, where not before.
    pub unbuilt: Vec<Regex>,
}

impl Config {
    /// Reads a configuration as Envoy hands it over: JSON text.
    ///
    /// `namespace` keeps counters of plugins apart that share one store; it must not change from one load to the next, or
    /// counts start afresh.
    ///
    /// # Errors
    /// All problems of the document, warnings included.
    ///
    /// ```
    /// use mcp_policy::policy::compiled::Config;
    ///
    /// let policy = br#"{"version": "1", "default": "deny", "tools": {"search": {}}}"#;
    /// assert!(Config::load(policy, "plugin").is_ok());
    ///
    /// let misspelled = br#"{"version": "1", "default": "deny", "tools": {"search": {"akshun": "deny"}}}"#;
    /// let problems = Config::load(misspelled, "plugin").unwrap_err();
    /// assert_eq!(problems[0].place, "tools.search.akshun");
    /// ```
    pub fn load(bytes: &[u8], namespace: &str) -> Result<Loaded, Vec<Diagnostic>> {
        Config::load_with(bytes, namespace, Regexes::default())
    }

    /// Reads a configuration that [`Config::load`] has taken before in this process, byte for byte: its regular expressions are not compiled
    /// again, but left for later.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_known(bytes: &[u8], namespace: &str) -> Result<Loaded, Vec<Diagnostic>> {
        Config::load_with(bytes, namespace, Regexes::known())
    }

    fn load_with(
        bytes: &[u8],
        namespace: &str,
        regexes: Regexes,
    ) -> Result<Loaded, Vec<Diagnostic>> {
        let alone = |code, message: &str, help: &str| {
            vec![
                Diagnostic::error(code, String::new(), message.to_owned())
                    .with_help(help.to_owned()),
            ]
        };
        let text = std::str::from_utf8(bytes).ok();
        if text.is_none_or(|text| text.trim().is_empty()) && !looks_like_struct(bytes) {
            let help = "put the policy's JSON text in a google.protobuf.StringValue";
            let message = if bytes.is_empty() {
                "the configuration is empty"
            } else {
                "the configuration is not JSON text in UTF-8"
            };
            return Err(alone(Code::NotJson, message, help));
        }
        match text.map(|text| (text, parse(text, Duplicates::Keep))) {
            Some((_, Ok(value))) => Config::compile_with(&value, namespace, regexes),
            _ if looks_like_struct(bytes) => Err(alone(
                Code::ProtobufStruct,
                "the configuration is a google.protobuf.Struct, which reaches a filter as protobuf bytes, not as JSON",
                "wrap the policy's JSON text in a google.protobuf.StringValue",
            )),
            Some((text, Err(fault))) => {
                let (line, column) = line_and_column(text, fault.at);
                let message =
                    format!("not JSON: {} at line {line}, column {column}", fault.kind.describe());
                Err(alone(Code::NotJson, &message, "check the document with `mcp-policy validate`"))
            }
            None => Err(alone(
                Code::NotJson,
                "the configuration is not UTF-8",
                "save the policy as UTF-8",
            )),
        }
    }

    /// Compiles a document that is already read, from JSON (keeping duplicates, so that they can be reported) or YAML.
    ///
    /// # Errors
    /// All problems of the document, warnings included.
    pub fn compile(document: &Value<'_>, namespace: &str) -> Result<Loaded, Vec<Diagnostic>> {
        Config::compile_with(document, namespace, Regexes::default())
    }

    fn compile_with(
        document: &Value<'_>,
        namespace: &str,
        regexes: Regexes,
    ) -> Result<Loaded, Vec<Diagnostic>> {
        let (config, diagnostics, unbuilt) = compile::configuration(document, namespace, regexes);
        let failed = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
        match config {
            Some(config) if !failed => Ok(Loaded { config, warnings: diagnostics, unbuilt }),
            _ => Err(diagnostics),
        }
    }
}

/// Whether the bytes begin like a serialised `google.protobuf.Struct`: a map entry (field 1) that holds its key (field 1 again)
/// and then its value (field 2).
pub(crate) fn looks_like_struct(bytes: &[u8]) -> bool {
    let Some((0x0a, rest)) = bytes.split_first() else { return false };
    let length = rest.iter().take_while(|&&byte| byte >= 0x80).count();
    let Some([0x0a, key, entry @ ..]) = rest.get(length + 1..) else { return false };
    entry.get(usize::from(*key)) == Some(&0x12)
}

/// Line and column of a byte, from 1; columns count characters.
#[must_use]
pub fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}
