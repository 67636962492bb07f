//! A device beside a core on real sockets: the nodes as processes, the other phones in this one,
//! the device wherever it is. Whatever reaches the P-CSCF from nobody else is the device's.

use std::net::SocketAddr;

use cscf_core::config::{Lab, NodeRole};
use cscf_core::operator;
use cscf_core::time::{Duration, Instant};
use cscf_core::trace::{TraceEvent, TraceKind};

use super::program::{CANNOT, Facts, Program};
use super::{Case, Finding, Judged, Verdict, human, judge_over, needs, skipped};
use crate::cli::term;
use crate::run::{Claim, Family, Instance, LiveStage};
use crate::script::{DUT, Order, Scenario, Stage};

/// How long a program may take until it is heard, and a human.
const PROGRAM_WITHIN: Duration = Duration::from_secs(20);
const HUMAN_WITHIN: Duration = Duration::from_secs(120);
/// How often it is looked whether a program is still there.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Lines told of what a program wrote that ended at once.
const LAST_LINES: usize = 10;

/// How the device is led.
#[derive(Clone, Copy, Debug)]
pub(super) enum How<'a> {
    /// By its environment and standard input.
    Program(&'a str),
    /// By what is said to a human.
    Human,
}

/// Runs a case with a device.
///
/// # Errors
///
/// Why it could not run.
pub(super) fn run(
    case: &Case,
    scenario: &Scenario,
    (lab, ipsec): (&Lab, bool),
    how: How<'_>,
) -> Result<Judged, String> {
    let claim = Claim::take(Family::V4)?;
    // A lab that others can reach stays where it is; any other gets a network of its own.
    let reachable = lab.node(NodeRole::Pcscf).is_some_and(|node| !node.listen.ip().is_loopback());
    let instance = if reachable {
        Instance::kept(lab, scenario)
    } else {
        Instance::on(lab, scenario, &claim.network)
    };
    let mut instance = instance.map_err(|fault| fault.to_string())?;
    instance.lab.esp = ipsec;
    let facts = facts(case, scenario, &instance)?;
    let inner = LiveStage::start_without(instance.clone(), Some(DUT), &mut |_| {})?;
    if matches!(how, How::Human) {
        term::out(&facts.told());
    }
    let begun = inner.now();
    let (program, at_once) = (None, None);
    let mut stage = DeviceStage { inner, how, facts, program, at_once, instance: instance.clone() };
    let mut judged = judge_over(scenario, instance.clone(), &mut stage);
    let (said, ended) = stage.program.take().map(Program::stop).unwrap_or_default();
    let esp_sa = stage.inner.keys();
    if let Some(fault) = stage.at_once.take() {
        judged = Ok(Judged {
            events: stage.inner.events().to_vec(),
            time: stage.inner.now().since(begun),
            instance: Some(instance),
            ..undecided(fault, &said)
        });
    }
    let rest = stage.inner.stop();
    if let Ok(judged) = &mut judged {
        judged.esp_sa = esp_sa;
        judged.events.extend(rest);
        judged.events.sort_by_key(|event| event.at);
        judged.said = said;
        let code = ended.and_then(|status| status.code());
        // What it cannot does not come; a message that did come and is wrong stays wrong.
        let is_wrong = |it: &Finding| it.verdict == Verdict::Failed && it.message.is_some();
        if code == Some(CANNOT)
            && judged.verdict != Verdict::Passed
            && !judged.findings.iter().any(is_wrong)
        {
            let says = skipped(format!("the device says that it cannot (exit code {CANNOT})"));
            (judged.verdict, judged.findings) = (says.verdict, says.findings);
        }
        if let Some(status) = ended.filter(|status| !status.success()) {
            for finding in &mut judged.findings {
                let help = finding.help.get_or_insert_default();
                help.push_str(&format!("\nthe program of the device ended: {status}"));
            }
        }
    }
    judged
}

/// A case of which nothing can be said, because the program ended before it did anything.
fn undecided(fault: String, said: &str) -> Judged {
    let lines: Vec<&str> = said.lines().collect();
    let last = lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default();
    let help = if last.is_empty() { "it wrote nothing".to_owned() } else { last.join("\n") };
    let mut judged = skipped(fault);
    judged.verdict = Verdict::Inconclusive;
    for finding in &mut judged.findings {
        finding.verdict = Verdict::Inconclusive;
        finding.help = Some(help.clone());
        finding.cause = "the program ended at once".to_owned();
    }
    judged
}

fn facts(case: &Case, scenario: &Scenario, instance: &Instance) -> Result<Facts, String> {
    let subscriber = needs::subscriber(scenario, &instance.lab);
    let subscriber = subscriber.ok_or("the device is no subscriber of the lab")?;
    let device = instance.ues.iter().find(|ue| ue.name == DUT);
    let pcscf = instance.lab.node(NodeRole::Pcscf).ok_or("the lab has no P-CSCF")?;
    let mut facts = Facts::of(&instance.lab, &subscriber);
    facts.add("address", &pcscf.listen.ip().to_string());
    facts.add("port", &pcscf.listen.port().to_string());
    let transport = device.map_or("udp", |ue| ue.transport.param_name());
    facts.add("transport", transport);
    if let Some(impu) = device.and_then(|ue| ue.impus.first()) {
        facts.add("impu", impu);
    }
    facts.add("device", &device.map(|ue| ue.address.ip().to_string()).unwrap_or_default());
    facts.add("case", &case.name);
    facts.add("do", &human::list(scenario, instance));
    facts.add("target", &human::target(scenario, instance));
    Ok(facts)
}

/// A live run with a device.
struct DeviceStage<'a> {
    inner: LiveStage,
    how: How<'a>,
    facts: Facts,
    program: Option<Program>,
    /// How the program ended before anything was heard of it.
    at_once: Option<String>,
    instance: Instance,
}

impl DeviceStage<'_> {
    /// Waits until the device is heard after so many events.
    ///
    /// # Errors
    ///
    /// When it is a program that ends before.
    fn wait_for_device(&mut self, from: usize, within: Duration) -> Result<(), String> {
        let until = self.inner.now() + within;
        let mut looked = from;
        loop {
            let ended = self.program.as_mut().and_then(Program::ended);
            // What it sent before it ended may still be on its way.
            let look = self.inner.now() + LOOK_EVERY;
            while self.inner.advance(look.min(until))? {}
            if self.is_heard(&mut looked) || self.inner.now() >= until {
                return Ok(());
            }
            if let Some(status) = ended {
                let fault =
                    format!("the program of the device ended before it sent anything: {status}");
                self.at_once = Some(fault.clone());
                return Err(fault);
            }
        }
    }

    /// Whether one of the events not looked at yet is a message of the device.
    fn is_heard(&self, looked: &mut usize) -> bool {
        let new = self.inner.events().get(*looked..).unwrap_or_default();
        *looked += new.len();
        new.iter().any(|event| match &event.kind {
            TraceKind::Received(wire) => self.name_of(&wire.remote) == Some(DUT),
            _ => false,
        })
    }
}

impl Stage for DeviceStage<'_> {
    fn now(&self) -> Instant {
        self.inner.now()
    }

    fn events(&self) -> &[TraceEvent] {
        self.inner.events()
    }

    fn advance(&mut self, until: Instant) -> Result<bool, String> {
        self.inner.advance(until)
    }

    fn command(&mut self, ue: &str, order: &Order) -> Result<(), String> {
        if ue != DUT {
            return self.inner.command(ue, order);
        }
        let words = human::words(order, &self.instance);
        let from = self.inner.events().len();
        match (self.how, &mut self.program) {
            (How::Human, _) => {
                term::out(&format!(">>> now: {words}\n"));
                self.wait_for_device(from, HUMAN_WITHIN)
            }
            (How::Program(command), None) => {
                self.program = Some(Program::start(command, &self.facts)?);
                if let Some(program) = &mut self.program {
                    program.tell(&words);
                }
                self.wait_for_device(from, PROGRAM_WITHIN)
            }
            (How::Program(_), Some(program)) => {
                program.tell(&words);
                Ok(())
            }
        }
    }

    fn operate(&mut self, order: &operator::Order) -> Result<(), String> {
        self.inner.operate(order)
    }

    fn crash(&mut self, node: &str) -> Result<(), String> {
        self.inner.crash(node)
    }

    fn restart(&mut self, node: &str) -> Result<(), String> {
        self.inner.restart(node)
    }

    fn name_of(&self, addr: &SocketAddr) -> Option<&str> {
        Some(self.inner.name_of(addr).unwrap_or(DUT))
    }

    fn acts_by_itself(&self, ue: &str) -> bool {
        ue == DUT && matches!(self.how, How::Program(_)) && self.program.is_some()
    }
}
