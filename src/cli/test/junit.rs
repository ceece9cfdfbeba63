//! Results as JUnit XML, in the shape that CI servers read.

use std::io;
use std::path::Path;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::TestFileReport;

/// Writes one test suite for each test file; missing coverage is a test case of its own.
pub(super) fn write(
    path: &Path,
    reports: &[TestFileReport],
    required: Option<u8>,
) -> io::Result<()> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    writer.create_element("testsuites").write_inner_content(|writer| {
        reports.iter().try_for_each(|report| suite(writer, report, required))
    })?;
    let mut bytes = writer.into_inner();
    bytes.push(b'\n');
    std::fs::write(path, bytes)
}

fn suite(
    writer: &mut Writer<Vec<u8>>,
    report: &TestFileReport,
    required: Option<u8>,
) -> io::Result<()> {
    let covers = report.covers(required);
    let tests = report.tests.len() + usize::from(required.is_some());
    let failures = report.failed() + usize::from(!covers);
    let element = writer
        .create_element("testsuite")
        .with_attribute(("name", &*visible(&report.tests_file)))
        .with_attribute(("tests", &*tests.to_string()))
        .with_attribute(("failures", &*failures.to_string()));
    element.write_inner_content(|writer| {
        for test in &report.tests {
            let failures = test.failures.iter().map(|failure| {
                let line = failure.line.map(|line| format!(":{line}")).unwrap_or_default();
                format!(
                    "{}{line}: expected {}; found {}",
                    report.tests_file, failure.expected, failure.found
                )
            });
            case(writer, report, &test.name, &failures.collect::<Vec<_>>())?;
        }
        if let Some(required) = required {
            let missing: Vec<&str> =
                report.coverage.missing.iter().map(|missing| &*missing.rule).collect();
            let failure = format!(
                "{} % of the rules are covered, {required} % are required; not covered: {}",
                report.coverage.percent,
                missing.join(" ")
            );
            let failures = if covers { Vec::new() } else { vec![failure] };
            case(writer, report, "coverage", &failures)?;
        }
        Ok(())
    })?;
    Ok(())
}

fn case(
    writer: &mut Writer<Vec<u8>>,
    report: &TestFileReport,
    name: &str,
    failures: &[String],
) -> io::Result<()> {
    let element = writer
        .create_element("testcase")
        .with_attribute(("classname", &*visible(&report.policy)))
        .with_attribute(("name", &*visible(name)));
    if failures.is_empty() {
        element.write_empty()?;
        return Ok(());
    }
    element.write_inner_content(|writer| {
        failures.iter().try_for_each(|failure| {
            writer
                .create_element("failure")
                .with_attribute(("message", "not as expected"))
                .write_text_content(BytesText::new(&visible(failure)))
                .map(drop)
        })
    })?;
    Ok(())
}

/// XML 1.0 has no control characters, escaped or not.
fn visible(text: &str) -> String {
    let fits =
        |character: &char| !character.is_control() && !matches!(character, '\u{fffe}' | '\u{ffff}');
    text.chars().map(|character| if fits(&character) { character } else { '\u{fffd}' }).collect()
}
