//! The ladder in the README is what the program prints.

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
