//! Results as `JUnit` XML, the form that Jenkins, GitLab, GitHub's reporters and most other
//! services read: elements and attributes of Jenkins' `junit-10.xsd` (`tests/schema/junit.xsd`).
//!
//! An unmet expectation is a `failure`, what could not run is an `error`, what was left out or
//! could not be decided is `skipped` with its reason. What a case tells about itself (seed,
//! clauses, folder) stands at the head of its `system-out`, because the schema knows properties of
//! suites only.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use cscf_core::time::Duration;

use super::artefacts;
use super::escape::{attribute, escape};

/// A file of results.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Its name, e.g. `cscf run`.
    pub name: String,
    /// What ran, in its order.
    pub suites: Vec<Suite>,
}

/// Cases that belong together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suite {
    /// Its name, e.g. `registration`.
    pub name: String,
    /// Names and values that hold for all its cases, e.g. the seed.
    pub properties: Vec<(String, String)>,
    /// The cases, in the order they ran.
    pub cases: Vec<Case>,
}

/// One case: a scenario, or a behaviour that a device under test is judged by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Its name, unique in its suite.
    pub name: String,
    /// What services group by, with dots between the groups, e.g. `cscf.registration`.
    pub classname: String,
    /// How long it took; in virtual runs virtual time.
    pub time: Duration,
    /// What it came to.
    pub outcome: Outcome,
    /// Names and values of this case: `seed`, `clauses`, `artefacts`.
    pub properties: Vec<(String, String)>,
    /// What it printed.
    pub system_out: String,
}

/// What a case came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All was as expected.
    Passed,
    /// Something was not as expected.
    Failed {
        /// The class of the failure, e.g. `expectation`, or the clause that was violated.
        kind: String,
        /// One line.
        message: String,
        /// The whole account: place, expected and actual value, decisions with clauses.
        text: String,
    },
    /// It could not run.
    CouldNotRun {
        /// One line.
        message: String,
        /// The whole account.
        text: String,
    },
    /// It did not run, and need not.
    Skipped {
        /// Why.
        reason: String,
    },
    /// It ran, and nothing can be said.
    Inconclusive {
        /// Why.
        reason: String,
    },
}

impl Report {
    /// The file.
    #[must_use]
    pub fn to_xml(&self) -> String {
        let all = Counts::of(self.suites.iter().flat_map(|suite| &suite.cases));
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let (name, counts) = (attribute(&self.name), all.attributes());
        let _ = writeln!(out, "<testsuites name=\"{name}\" {counts}>");
        for suite in &self.suites {
            suite.write(&mut out);
        }
        out.push_str("</testsuites>\n");
        out
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    ///
    /// What the file system says, with the path.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        artefacts::write_file(path, self.to_xml().as_bytes())
    }
}

impl Suite {
    fn write(&self, out: &mut String) {
        let counts = Counts::of(&self.cases);
        let (name, skipped) = (attribute(&self.name), counts.skipped);
        let counts = counts.attributes();
        let _ = writeln!(out, "  <testsuite name=\"{name}\" {counts} skipped=\"{skipped}\">");
        if !self.properties.is_empty() {
            out.push_str("    <properties>\n");
            for (name, value) in &self.properties {
                let (name, value) = (attribute(name), attribute(value));
                let _ = writeln!(out, "      <property name=\"{name}\" value=\"{value}\"/>");
            }
            out.push_str("    </properties>\n");
        }
        for case in &self.cases {
            case.write(out);
        }
        out.push_str("  </testsuite>\n");
    }
}

impl Case {
    fn write(&self, out: &mut String) {
        let (name, class) = (attribute(&self.name), attribute(&self.classname));
        let time = seconds(self.time);
        let _ = write!(out, "    <testcase name=\"{name}\" classname=\"{class}\" time=\"{time}\"");
        let result = self.outcome.element();
        let said = self.said();
        if result.is_empty() && said.is_empty() {
            out.push_str("/>\n");
            return;
        }
        out.push_str(">\n");
        out.push_str(&result);
        if !said.is_empty() {
            let _ = writeln!(out, "      <system-out>{}</system-out>", escape(&said));
        }
        out.push_str("    </testcase>\n");
    }

    /// The properties, a line each, and what was printed.
    fn said(&self) -> String {
        let mut said = String::new();
        for (name, value) in &self.properties {
            let _ = writeln!(said, "{name}: {value}");
        }
        if !said.is_empty() && !self.system_out.is_empty() {
            said.push('\n');
        }
        said + &self.system_out
    }
}

impl Outcome {
    fn element(&self) -> String {
        let (element, kind, message, text) = match self {
            Self::Passed => return String::new(),
            Self::Failed { kind, message, text } => ("failure", kind.as_str(), message, text),
            Self::CouldNotRun { message, text } => ("error", "could not run", message, text),
            Self::Skipped { reason } => ("skipped", "skipped", reason, reason),
            Self::Inconclusive { reason } => ("skipped", "inconclusive", reason, reason),
        };
        let (kind, message, text) = (attribute(kind), attribute(message), escape(text));
        format!("      <{element} type=\"{kind}\" message=\"{message}\">{text}</{element}>\n")
    }
}

#[derive(Default)]
struct Counts {
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
    time: Duration,
}

impl Counts {
    fn of<'a>(cases: impl IntoIterator<Item = &'a Case>) -> Self {
        let mut counts = Self::default();
        for case in cases {
            counts.tests += 1;
            counts.time = counts.time.saturating_add(case.time);
            match case.outcome {
                Outcome::Passed => {}
                Outcome::Failed { .. } => counts.failures += 1,
                Outcome::CouldNotRun { .. } => counts.errors += 1,
                Outcome::Skipped { .. } | Outcome::Inconclusive { .. } => counts.skipped += 1,
            }
        }
        counts
    }

    /// What suites and the whole file have in common.
    fn attributes(&self) -> String {
        let Self { tests, failures, errors, time, .. } = self;
        let time = seconds(*time);
        format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" time=\"{time}\"")
    }
}

/// Seconds with three digits behind the point.
fn seconds(time: Duration) -> String {
    format!("{}.{:03}", time.as_secs(), time.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(name: &str, outcome: Outcome) -> Case {
        Case {
            name: name.to_owned(),
            classname: "cscf.registration".to_owned(),
            time: Duration::from_millis(1500),
            outcome,
            properties: vec![("seed".to_owned(), "1".to_owned())],
            system_out: "</system-out> said \u{1b}[1m\n".to_owned(),
        }
    }

    #[test]
    fn each_outcome_has_its_element_and_is_counted() {
        let text = || "line\n <caret>".to_owned();
        let cases = vec![
            case("a", Outcome::Passed),
            case(
                "b",
                Outcome::Failed {
                    kind: "expectation".into(),
                    message: "x < 1".into(),
                    text: text(),
                },
            ),
            case("c", Outcome::CouldNotRun { message: "no \"port\"".into(), text: text() }),
            case("d", Outcome::Skipped { reason: "no USIM".into() }),
            case("e", Outcome::Inconclusive { reason: "no call came".into() }),
        ];
        let properties = vec![("dut".to_owned(), "./client\t-v".to_owned())];
        let suite = Suite { name: "registration".into(), properties, cases };
        let xml = Report { name: "cscf test".into(), suites: vec![suite] }.to_xml();
        let document = roxmltree::Document::parse(&xml).expect("well-formed");
        for element in ["testsuites", "testsuite"] {
            let found = document.descendants().find(|node| node.has_tag_name(element));
            let found = found.expect(element);
            let expected = [("tests", "5"), ("failures", "1"), ("errors", "1"), ("time", "7.500")];
            for (name, value) in expected {
                assert_eq!(found.attribute(name), Some(value), "{element} {name}");
            }
        }
        let suite = document.descendants().find(|node| node.has_tag_name("testsuite"));
        assert_eq!(suite.expect("one").attribute("skipped"), Some("2"));
        let failure = document.descendants().find(|node| node.has_tag_name("failure"));
        let failure = failure.expect("one");
        assert_eq!(failure.attribute("message"), Some("x < 1"));
        assert_eq!(failure.text(), Some("line\n <caret>"));
        let said = document.descendants().find(|node| node.has_tag_name("system-out"));
        assert_eq!(said.expect("one").text(), Some("seed: 1\n\n</system-out> said \u{fffd}[1m\n"));
        let property = document.descendants().find(|node| node.has_tag_name("property"));
        assert_eq!(property.expect("one").attribute("value"), Some("./client\t-v"));
    }

    #[test]
    fn a_report_replaces_an_earlier_one_or_leaves_it() {
        let home = tempfile::tempdir().expect("folder");
        let path = home.path().join("deep/out.xml");
        for name in ["one", "two"] {
            let report = Report { name: name.into(), suites: Vec::new() };
            report.write(&path).expect("written");
            assert_eq!(std::fs::read_to_string(&path).expect("there"), report.to_xml());
        }
        let left = std::fs::read_dir(home.path().join("deep")).expect("there").count();
        assert_eq!(left, 1, "no half-written file is left");
        let fault = Report::default().write(&path.join("below a file")).expect_err("refused");
        assert!(fault.to_string().contains("out.xml"), "{fault}");
    }
}
