//! `cscf list`: the scenarios that ship with the program.

use std::fmt::Write as _;

use cscf_core::config::Lab;

use crate::builtin;
use crate::script::read_scenario;

/// One line for each: its name and what it is about.
pub(super) fn list() -> Result<String, String> {
    let lab = Lab::default_lab();
    let width = builtin::ALL.iter().map(|builtin| builtin.name.len()).max().unwrap_or_default();
    let mut out = String::new();
    for builtin in builtin::ALL {
        let scenario = read_scenario(builtin.source, &lab.domain)
            .map_err(|_| format!("the built-in scenario {} cannot be read", builtin.name))?;
        let _ = writeln!(out, "{:width$}  {}", builtin.name, scenario.title);
        if let Some(reason) = scenario.only_virtual() {
            let _ = writeln!(out, "{:width$}  (only --virtual: {reason})", "");
        }
    }
    Ok(out)
}
