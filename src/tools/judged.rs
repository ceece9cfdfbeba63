//! A tool and what it was taken for, for programs: what `scan --format json` prints of it, and what the page shows.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Tool;
use super::classify::kinds::Classification;

/// A tool that was judged.
#[derive(Debug, Serialize)]
pub struct JudgedTool<'t> {
    /// The server, where several were scanned together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<&'t str>,
    /// Its name.
    pub tool: &'t str,
    class: &'static str,
    severity: &'static str,
    /// What the severity was called first.
    risk: &'static str,
    confidence: &'static str,
    marks: Vec<&'static str>,
    flags: Vec<JudgedArgument<'t>>,
    evidence: &'t [String],
    mark_evidence: BTreeMap<&'static str, &'t str>,
    description: &'t str,
    #[serde(skip_serializing_if = "Option::is_none")]
    proposal: Option<JudgedProposal<'t>>,
}

#[derive(Debug, Serialize)]
struct JudgedArgument<'t> {
    argument: &'t str,
    flag: &'static str,
    evidence: &'t str,
}

#[derive(Debug, Serialize)]
struct JudgedProposal<'t> {
    class: &'static str,
    evidence: &'t [String],
}

impl<'t> JudgedTool<'t> {
    /// What was said of a tool.
    #[must_use]
    pub fn new(
        server: Option<&'t str>,
        tool: &'t Tool,
        judgement: &'t Classification,
    ) -> JudgedTool<'t> {
        let severity = judgement.severity.word();
        let flags = judgement.flags.iter().map(|flagged| JudgedArgument {
            argument: &flagged.name,
            flag: flagged.flag.word(),
            evidence: &flagged.evidence,
        });
        JudgedTool {
            server,
            tool: &tool.name,
            class: judgement.class.word(),
            severity,
            risk: severity,
            confidence: judgement.confidence.word(),
            marks: judgement.shown_marks().map(|found| found.mark.word()).collect(),
            flags: flags.collect(),
            evidence: &judgement.evidence,
            mark_evidence: judgement
                .shown_marks()
                .map(|found| (found.mark.word(), found.evidence.as_str()))
                .collect(),
            description: &tool.description,
            proposal: judgement.proposal.as_ref().map(|proposal| JudgedProposal {
                class: proposal.class.word(),
                evidence: &proposal.evidence,
            }),
        }
    }
}
