//! `cscf test`: the core plays the network, a UE is the device, and the cases of a suite judge it
//! (TS 34.229-1, TS 34.229-5). Without a device it is the emulated UE in virtual time.

mod human;
mod judge;
mod live;
mod mutants;
mod needs;
mod output;
mod packs;
mod program;
mod suite;

use std::path::PathBuf;
use std::process::ExitCode;

use cscf_core::config::{Lab, NodeRole};
use cscf_core::host::program::{EXIT_COULD_NOT_RUN, EXIT_FAILED, EXIT_OK};
use cscf_core::time::Duration;
use cscf_core::trace::TraceEvent;

pub use judge::{Finding, Verdict};
pub use mutants::{MUTANTS, Mutant};
pub use suite::{Case, SUITES, all_cases};

use judge::CaseJudge;
use packs::Conditions;

use crate::report::github;
use crate::run::{Instance, SimulatedStage};
use crate::script::{DUT, Need, Scenario, Stage, judged};

/// Who the device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// The emulated UE, in virtual time, with one rule broken or none.
    Own(Option<String>),
    /// A program, started for each case.
    Program(String),
    /// Whatever registers, led by a human.
    Human,
}

/// What `cscf test` was asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Suites, or files and folders of cases.
    pub suites: Vec<String>,
    /// Only these cases; all without.
    pub cases: Vec<String>,
    /// The device.
    pub device: Device,
    /// The subscriber that it is; without, as the case says.
    pub subscriber: Option<String>,
    /// What it can besides what every device is taken to.
    pub can: Vec<Need>,
    /// What it cannot.
    pub cannot: Vec<Need>,
    /// The seed of virtual runs.
    pub seed: u64,
    /// Whether there is ESP beside a device on real sockets.
    pub ipsec: bool,
    /// The lab file; the built-in lab without.
    pub lab: Option<PathBuf>,
    /// Where the artefacts go.
    pub out: PathBuf,
    /// Where the results go as `JUnit`.
    pub junit: Option<PathBuf>,
    /// Whether GitHub Actions is told: annotations and the summary of the step.
    pub github: bool,
}

/// A case that has been judged.
#[derive(Debug)]
pub struct Judged {
    /// What it came to.
    pub verdict: Verdict,
    /// What was found, in order; of a skipped case why.
    pub findings: Vec<Finding>,
    /// All that happened, in the order of time.
    pub events: Vec<TraceEvent>,
    /// How long it took.
    pub time: Duration,
    /// The lab it ran in, if it ran.
    pub instance: Option<Instance>,
    /// What the device itself wrote.
    pub said: String,
    /// The keys of its security associations, for Wireshark.
    pub esp_sa: Vec<String>,
}

/// Runs the cases; the exit code says the worst: 0 all passed or were skipped, 1 the device failed
/// one, 2 one could not be decided.
#[must_use]
pub fn main(options: &Options) -> ExitCode {
    ExitCode::from(run(options).unwrap_or_else(|fault| {
        crate::cli::term::error(&fault);
        EXIT_COULD_NOT_RUN
    }))
}

fn run(options: &Options) -> Result<u8, String> {
    if options.ipsec && matches!(options.device, Device::Program(_)) {
        crate::run::own_network(options.lab.as_deref());
    }
    let lab = crate::run::lab(options.lab.as_deref())?;
    if let Some(name) = &options.subscriber {
        known_subscriber(name, &lab)?;
    }
    let cases = suite::select(&options.suites, &options.cases, &lab)?;
    crate::run::try_to_write(None, options.junit.as_deref())?;
    let mut results = Vec::new();
    for case in cases {
        let mut judged =
            run_case(&case, &lab, options).unwrap_or_else(|fault| could_not_run(&fault));
        let folder = output::write(&case, &judged, options).unwrap_or_else(|fault| {
            judged.findings.push(Finding::undecided(fault, "artefacts"));
            judged.verdict = judged.verdict.max(Verdict::Inconclusive);
            PathBuf::new()
        });
        output::tell(&case, &judged, &folder);
        if options.github {
            output::annotate(&case, &judged);
        }
        // They are in the artefacts now; those of all cases together would be too many.
        judged.events = Vec::new();
        results.push((case, judged, folder));
    }
    output::table(&results);
    if let Some(file) = &options.junit {
        output::junit(&results, options).write(file).map_err(|fault| fault.to_string())?;
    }
    if options.github {
        github::summarise(&output::summary(&results)).map_err(|fault| fault.to_string())?;
    }
    let worst = results.iter().map(|(_, judged, _)| judged.verdict).max();
    Ok(match worst {
        None | Some(Verdict::Passed | Verdict::Skipped) => EXIT_OK,
        Some(Verdict::Failed) => EXIT_FAILED,
        Some(Verdict::Inconclusive) => EXIT_COULD_NOT_RUN,
    })
}

/// Says which subscriber was meant where there is none of this name.
fn known_subscriber(name: &str, lab: &Lab) -> Result<(), String> {
    if lab.subscriber(name).is_some() {
        return Ok(());
    }
    /// The most names that are shown.
    const NAMES_MAX: usize = 50;
    Err(match lab.subscribers.nearest(name, []) {
        Some(near) => format!("`{name}` is no subscriber of the lab; did you mean `{near}`?"),
        None => {
            let known: Vec<_> = lab.subscribers.names().take(NAMES_MAX).collect();
            format!("`{name}` is no subscriber of the lab; there are: {}", known.join(", "))
        }
    })
}

/// A case that broke is not decided; the others still run.
fn could_not_run(fault: &str) -> Judged {
    Judged {
        verdict: Verdict::Inconclusive,
        findings: vec![Finding::undecided(format!("the case could not run: {fault}"), "broken")],
        ..skipped(String::new())
    }
}

fn run_case(case: &Case, lab: &Lab, options: &Options) -> Result<Judged, String> {
    let scenario = played_by(&case.scenario, options.subscriber.as_deref());
    if let Some(reason) = needs::why_skipped(case, &scenario, lab, options) {
        return Ok(skipped(reason));
    }
    match &options.device {
        Device::Own(mutant) => in_virtual_time(&scenario, lab, options.seed, mutant.as_deref()),
        Device::Program(command) => {
            live::run(case, &scenario, (lab, options.ipsec), live::How::Program(command))
        }
        Device::Human => live::run(case, &scenario, (lab, options.ipsec), live::How::Human),
    }
}

fn skipped(reason: String) -> Judged {
    let finding = Finding {
        verdict: Verdict::Skipped,
        clause: String::new(),
        text: reason,
        message: None,
        at: cscf_core::config::Position::default(),
        help: None,
        cause: "skipped".to_owned(),
    };
    Judged {
        verdict: Verdict::Skipped,
        findings: vec![finding],
        events: Vec::new(),
        time: Duration::ZERO,
        instance: None,
        said: String::new(),
        esp_sa: Vec::new(),
    }
}

/// The scenario with another subscriber as the device.
fn played_by(scenario: &Scenario, subscriber: Option<&str>) -> Scenario {
    let mut scenario = scenario.clone();
    if let Some(name) = subscriber {
        for party in scenario.parties.iter_mut().filter(|party| party.is_device()) {
            let at = party.of.as_ref().map(|(at, _)| *at).unwrap_or_default();
            party.of = Some((at, name.to_owned()));
        }
    }
    scenario
}

/// Judges the emulated UE, with one rule broken or none.
///
/// # Errors
///
/// Why the case could not run.
pub fn in_virtual_time(
    scenario: &Scenario,
    lab: &Lab,
    seed: u64,
    mutant: Option<&str>,
) -> Result<Judged, String> {
    let mut scenario = scenario.clone();
    if let Some(words) = mutant {
        for party in scenario.parties.iter_mut().filter(|party| party.is_device()) {
            if !party.mistakes.make(words) {
                return Err(format!("no mutant `{words}`; `--dut-mutant list` shows them"));
            }
        }
    }
    let mut instance = Instance::new(lab, &scenario, 1, 0).map_err(|fault| fault.to_string())?;
    // Nothing outside the simulation answers.
    instance.lab.dns.servers.clear();
    let mut stage = SimulatedStage::new(instance.clone(), scenario.network.clone(), seed)?;
    judge_over(&scenario, instance, &mut stage)
}

/// Judges a device over a stage.
fn judge_over(
    scenario: &Scenario,
    instance: Instance,
    stage: &mut dyn Stage,
) -> Result<Judged, String> {
    let mut judge = CaseJudge::new(scenario, conditions(&instance));
    let begin = stage.now();
    if let Err(fault) = judged(scenario, stage, &mut judge) {
        judge.findings.push(Finding::undecided(format!("the run broke: {fault}"), "broken"));
    }
    if !judge::heard(stage, &instance.lab) {
        const SILENT: &str = "nothing was heard of the device";
        for finding in &mut judge.findings {
            finding.verdict = Verdict::Inconclusive;
            finding.text = format!("{SILENT}: {}", finding.text);
        }
        if judge.findings.is_empty() {
            judge.findings.push(Finding::undecided(SILENT.to_owned(), "silent"));
        }
    }
    let mut events = stage.events().to_vec();
    events.sort_by_key(|event| event.at);
    Ok(Judged {
        verdict: judge.verdict(),
        findings: judge.findings,
        events,
        time: stage.now().since(begin),
        instance: Some(instance),
        said: String::new(),
        esp_sa: Vec::new(),
    })
}

fn conditions(instance: &Instance) -> Conditions {
    let device = instance.ues.iter().find(|ue| ue.name == DUT);
    let has_card =
        device.is_some_and(|ue| !matches!(ue.credentials, crate::ue::Credentials::Digest { .. }));
    let pcscfs = instance.lab.nodes.iter().filter(|node| node.role == NodeRole::Pcscf);
    let clear_ports = pcscfs.map(|node| node.listen.port()).collect();
    let impi = device.map(|ue| ue.impi.clone()).unwrap_or_default();
    Conditions { aka: has_card, impi, clear_ports }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::read_checked;

    fn judge(steps: &str, mutant: Option<&str>) -> Judged {
        let lab = Lab::default_lab();
        let source =
            format!("scenario: x\ntest: {{id: CT-8.1, clause: 24.229 5.1.1}}\nsteps:\n{steps}\n");
        let scenario = read_checked("x", "x.yaml", &source, &lab).expect("reads");
        in_virtual_time(&scenario, &lab, 1, mutant).expect("runs")
    }

    #[test]
    fn what_is_not_about_the_device_or_is_a_condition_decides_nothing() {
        let registers = "  - dut registers\n  - dut receives 200 for REGISTER";
        assert_eq!(judge(registers, None).verdict, Verdict::Passed);
        for (steps, part) in [
            ("  - when dut sends INVITE within 1s", "a condition of the case"),
            ("  - hss sends RTR within 1s", "did not happen"),
        ] {
            let judged = judge(&format!("{registers}\n{steps}"), None);
            assert_eq!(judged.verdict, Verdict::Inconclusive, "{steps}");
            assert!(judged.findings[0].text.contains(part), "{:?}", judged.findings);
        }
        let silent = judge("  - dut sends REGISTER within 1s", None);
        assert_eq!(silent.verdict, Verdict::Inconclusive);
        assert!(silent.findings[0].text.starts_with("nothing was heard"), "{:?}", silent.findings);
    }

    #[test]
    fn what_the_network_sends_wrong_is_no_fault_of_the_device() {
        let judged = judge("  - dut registers\n  - dut receives 401:\n      Subject: x", None);
        assert_eq!(judged.verdict, Verdict::Inconclusive, "{:?}", judged.findings);
    }

    #[test]
    fn a_silent_device_passes_nothing() {
        let judged = judge("  - dut sends no REGISTER within 5s", None);
        assert_eq!(judged.verdict, Verdict::Inconclusive, "{:?}", judged.findings);
        assert_eq!(judged.findings[0].text, "nothing was heard of the device");
    }

    #[test]
    fn what_breaks_a_run_leaves_it_undecided() {
        let judged = could_not_run("a port is taken");
        assert_eq!(judged.verdict, Verdict::Inconclusive);
        assert!(judged.findings[0].text.ends_with("a port is taken"));
        let lab = Lab::default_lab();
        assert!(known_subscriber("alice", &lab).is_ok());
        let fault = known_subscriber("alcie", &lab).expect_err("nobody");
        assert!(fault.ends_with("did you mean `alice`?"), "{fault}");
    }

    #[test]
    fn a_step_that_names_a_parameter_leaves_the_others_to_the_tables() {
        let of = |authorization: &str| {
            let steps =
                "  - dut registers\n  - dut receives 401 for REGISTER\n  - dut sends REGISTER";
            let source = format!("{steps}:\n      {authorization}");
            judge(&source, Some("no path")).findings.len()
        };
        // The table's line on Supported is broken; one on Authorization is not switched off by it.
        assert_eq!(of("Supported;x: absent"), 1);
        assert_eq!(of("Supported: present"), 0);
    }

    #[test]
    fn each_wrong_header_is_told_and_the_case_goes_on() {
        let steps = "  - dut registers\n  - dut sends REGISTER:\n      Expires: \"7\"\n      \
                     Subject: present\n      clause: RFC 3261 20.36\n  - dut sends REGISTER";
        let judged = judge(steps, Some("no path"));
        assert_eq!(judged.verdict, Verdict::Failed);
        let causes: Vec<&str> = judged.findings.iter().map(|it| it.cause.as_str()).collect();
        let wanted =
            ["REGISTER:Expires", "REGISTER:Subject", "REGISTER:Supported", "REGISTER:Supported"];
        assert_eq!(causes, wanted);
        assert_eq!(judged.findings[0].clause, "RFC 3261 20.36");
        assert!(judged.findings[2].text.contains("Supported is wrong"), "{:?}", judged.findings);
    }
}
