//! The load: `cscf load`, for every system, and what a phase of it cost the system.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::account::{cpu_of, memory_of};
use crate::system::{DOMAIN, K, OP, PCSCF, Rig, Running, lines};

/// What a phase showed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// CPU time of each part for a piece of work that went well, in µs.
    pub(crate) each: BTreeMap<String, f64>,
    /// What the generator says.
    pub(crate) said: Value,
}

impl Sample {
    /// CPU time of all parts for a piece of work, in µs.
    pub(crate) fn micros(&self) -> f64 {
        self.each.values().sum()
    }

    /// A figure of what the generator says.
    pub(crate) fn figure(&self, path: &str) -> Option<f64> {
        self.said.pointer(path).and_then(Value::as_f64)
    }

    /// What spoils it, if anything does.
    pub(crate) fn spoiled(&self) -> Option<String> {
        let failed = self.figure("/failed").unwrap_or(0.0) + self.figure("/skipped").unwrap_or(0.0);
        let again = self.figure("/sent_again").unwrap_or(0.0);
        let late = self.said.pointer("/generator/bottleneck").and_then(Value::as_str);
        match late {
            _ if failed + again > 0.0 => Some(format!("{failed} failed, {again} sent again")),
            Some(why) => Some(format!("the generator: {why}")),
            None => None,
        }
    }
}

/// A fleet of UEs with its phases.
pub(crate) struct Load {
    child: Child,
    said: Box<dyn Iterator<Item = String>>,
    log: String,
}

impl Load {
    /// Starts a fleet of `users`; `more` are further options, `phases` what it does.
    pub(crate) fn start(
        rig: &Rig,
        users: u32,
        more: &[&str],
        phases: &[String],
    ) -> Result<Self, String> {
        let mut command = Command::new("nice");
        command.args(["-n", "-15"]).arg(&rig.cscf).args(["load", "--wait", "--json", "-"]);
        command.args(["--dut", PCSCF, "--sources", "127.1.1.2:5070", "--prepare-rate", "1000"]);
        command.args(["--impi", &format!("001010000000001@{DOMAIN}"), "--k", K, "--op", OP]);
        command.args(["--users", &users.to_string()]).args(more).args(phases);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().map_err(|fault| format!("nice cscf load: {fault}"))?;
        let said = lines(&mut child).ok_or("no output of the generator")?;
        Ok(Self { child, said: Box::new(said), log: String::new() })
    }

    /// Runs the next phase of a fleet against a system. `during` is done once it has begun.
    pub(crate) fn phase(
        &mut self,
        system: &Running,
        during: impl FnOnce(),
    ) -> Result<Sample, String> {
        loop {
            let line = self.said.next().ok_or_else(|| format!("the load ended: {}", self.log))?;
            if line.starts_with("ready ") {
                break;
            }
            // What went wrong while users were registered for a phase.
            self.log = line;
        }
        let before = cpu_of(&system.parts);
        if let Some(stdin) = &mut self.child.stdin {
            stdin.write_all(b"\n").map_err(|fault| fault.to_string())?;
        }
        during();
        let line = self.said.next().ok_or("the load ended within a phase")?;
        let after = cpu_of(&system.parts);
        let said: Value = serde_json::from_str(&line).map_err(|fault| fault.to_string())?;
        let ok = said.get("ok").and_then(Value::as_f64).unwrap_or(0.0).max(1.0);
        let each = after.into_iter().map(|(name, after)| {
            let spent = after.saturating_sub(before.get(&name).copied().unwrap_or(0));
            #[expect(clippy::cast_precision_loss, reason = "of microseconds")]
            let micros = spent as f64 / 1_000.0 / ok;
            (name, micros)
        });
        Ok(Sample { each: each.collect(), said })
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Memory of a system in kB.
pub(crate) fn memory(system: &Running) -> u64 {
    memory_of(&system.parts)
}
