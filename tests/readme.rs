//! What the documentation shows is what the program prints: the ladder in the README, and the lists
//! of diagnoses and of response codes.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

use std::path::Path;

use cscf_core::config::Lab;
use scenarios::builtin;
use scenarios::codes;
use scenarios::report::ladder::{self, Style};
use scenarios::run::{Instance, simulate};
use scenarios::script::read_scenario;

#[test]
fn the_ladder_in_the_readme_is_the_one_that_is_printed() {
    let source = builtin::find("register-aka").expect("ships").source;
    let outcome = simulate(source, 1).expect("runs");
    let lab = Lab::default_lab();
    let scenario = read_scenario(source, &lab.domain).expect("reads");
    let instance = Instance::new(&lab, &scenario, 1, 0).expect("instance");
    let style = Style::default();
    let printed = ladder::draw(&outcome.events, &instance.columns(), &instance.names(), style);

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(&path).expect("readable");
    let mark = "<!-- ladder: register-aka -->\n```\n";
    let (before, rest) = readme.split_once(mark).expect("the mark");
    let (shown, after) = rest.split_once("\npassed:").expect("the verdict");
    if std::env::var_os("CSCF_BLESS").is_some() {
        let text = format!("{before}{mark}{printed}\npassed:{after}");
        std::fs::write(&path, text).expect("written");
    } else {
        assert_eq!(shown, printed, "CSCF_BLESS=1 cargo test -p cscf-tests --test readme");
    }
}

/// The programs and where their sources are.
const SOURCES: [(&str, &str); 6] = [
    ("P-CSCF", "../p-cscf/src"),
    ("I-CSCF", "../i-cscf/src"),
    ("S-CSCF", "../s-cscf/src"),
    ("HSS", "../cscf-core/src/hss"),
    ("every node", "../cscf-core/src/engine"),
    ("UE", "../scenarios/src/ue"),
];

/// The checks that a source file diagnoses: the last text of each `Diagnosis::new(about, check)`.
fn checks(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let calls = code.split("Diagnosis::new(").skip(1);
    let arguments = calls.map(|rest| {
        let mut depth = 1;
        let end = rest.find(|letter| {
            depth += i32::from(letter == '(') - i32::from(letter == ')');
            depth == 0
        });
        &rest[..end.expect("a call ends")]
    });
    let texts = arguments.map(|it| it.split('"').nth_back(1).filter(|_| it.contains('"')));
    texts.map(|text| text.expect("a check is a text in the source").to_owned()).collect()
}

fn sources_under(folder: &Path) -> Vec<String> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("tests") {
            out.extend(sources_under(&path));
        } else if path.extension().is_some_and(|it| it == "rs") && !path.ends_with("tests.rs") {
            out.push(std::fs::read_to_string(&path).expect("readable"));
        }
    }
    out
}

#[test]
fn every_diagnosis_is_listed_in_the_documentation() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut page = String::from(
        "# Diagnoses\n\n\
         Made from the sources and scenarios; `CSCF_BLESS=1 cargo test -p cscf-tests --test \
         readme` writes it anew. Each is told in the\ntrace, under its message in the ladder with \
         `--explain`, in the progress lines of `cscf up` and by `cscf why`: which check, at which \
         node, the\nvalue that came, the value here, the clause, what to change.\n\n\
         | node | checks that refuse, or that explain why nothing goes on |\n|---|---|\n",
    );
    for (node, folder) in SOURCES {
        let files = sources_under(&here.join(folder));
        let mut list: Vec<String> = files.iter().flat_map(|source| checks(source)).collect();
        list.sort();
        list.dedup();
        for check in list {
            let check = check.replace("{name}", "a header").replace("{}", "a header");
            page.push_str(&format!("| {node} | {check} |\n"));
        }
    }
    page.push_str("\n## Scenarios\n\nEach provokes one of them and looks at its text.\n\n");
    page.push_str("| `cscf run` | what it shows |\n|---|---|\n");
    let domain = Lab::default_lab().domain;
    for one in builtin::ALL.iter().filter(|one| one.file.contains("diagnosis")) {
        let title = read_scenario(one.source, &domain).expect("reads").title;
        page.push_str(&format!("| `{}` | {title} |\n", one.name));
    }
    page_is("../docs/diagnoses.md", &page);
}

/// A page of the documentation that is made from the program.
fn page_is(path: &str, page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("CSCF_BLESS").is_some() {
        std::fs::write(&path, page).expect("written");
    } else {
        let shown = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(shown, page, "CSCF_BLESS=1 cargo test -p cscf-tests --test readme");
    }
}

#[test]
fn every_response_code_is_listed_in_the_documentation() {
    let catalogue = scenarios::conformance::catalogue().expect("reads");
    let table = codes::markdown(&codes::table(&catalogue));
    let page = format!(
        "# Response codes\n\n\
         Made from what the scenarios say of themselves; `CSCF_BLESS=1 cargo test -p cscf-tests \
         --test readme` writes it anew, and\n`cscf codes` prints it. Each scenario provokes the \
         code for its reason and looks at the decision behind it.\n\n{table}"
    );
    page_is("../docs/codes.md", &page);
}
