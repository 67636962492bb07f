//! `cscf run`: scenarios in virtual time or on real sockets, each in an instance of its own.

pub(crate) mod apart;
mod faults;
mod live;
mod many;
mod names;
mod network;
mod parties;
mod results;
mod simulated;
mod watch;

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cscf_core::config::{Lab, NodeRole, Position, Problems, nearest, read_lab, render};
use cscf_core::host::program::{EXIT_COULD_NOT_RUN, EXIT_FAILED, EXIT_OK, no_color};
use cscf_core::time::Duration;
use cscf_core::trace::TraceEvent;

use crate::builtin::{self, Builtin};
use crate::codes;
use crate::conformance;
use crate::report::digest::{self, Form};
use crate::report::junit::{Report, Suite};
use crate::report::{artefacts, github, ladder};
use crate::script::{self, Failure, Scenario, Seen, StepKind, at_word, read_scenario};

pub use live::LiveStage;
pub(crate) use network::Claim;
pub use network::{Family, Network};
pub use parties::{Instance, InstanceError};
pub use simulated::{SimulatedStage, UNIX_AT_EPOCH, lab_node, ue_node};

/// What `cscf run` was asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Names of built-in scenarios, or files.
    pub scenarios: Vec<String>,
    /// In virtual time, in this process.
    pub simulated: bool,
    /// The seed of simulated runs.
    pub seed: u64,
    /// Where the artefacts go; `cscf-out/<scenario>` without.
    pub out: Option<PathBuf>,
    /// Each decision as a sentence.
    pub explain: bool,
    /// The lab file; the built-in lab without.
    pub lab: Option<PathBuf>,
    /// Where the results go as `JUnit` XML.
    pub junit: Option<PathBuf>,
    /// Annotations and a summary for GitHub Actions.
    pub github: bool,
    /// How many scenarios of a pattern run at a time.
    pub jobs: Option<usize>,
    /// Runs again whenever a file is saved.
    pub watch: bool,
    /// All UEs with a card make a security agreement, and their packets are protected.
    pub ipsec: bool,
    /// All UEs without security associations agree on TLS.
    pub tls: bool,
    /// IPv4, IPv6 or both.
    pub family: Family,
    /// The run has a network of its own, in which all addresses are.
    pub apart: bool,
}

impl Options {
    /// Whether UEs protect what they say where the scenario does not ask for it.
    const fn protects(&self) -> bool {
        self.ipsec || self.tls
    }
}

/// A scenario with where it comes from.
struct Loaded {
    name: String,
    file: String,
    source: String,
    scenario: Scenario,
}

/// What a run came to.
pub struct Outcome {
    /// All events, in order of time.
    pub events: Vec<TraceEvent>,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// How long it took, in the time of the run.
    pub time: Duration,
    /// The keys of its security associations, for Wireshark, where packets were encrypted.
    pub esp_sa: Vec<String>,
}

/// Runs the scenarios one after the other; the exit code is the worst of theirs.
#[must_use]
pub fn main(options: &Options) -> ExitCode {
    let apart = options.ipsec
        && !options.simulated
        && any_runs(options)
        && own_network(options.lab.as_deref());
    let options = Options { apart, ..options.clone() };
    if !options.watch {
        return ExitCode::from(once(&options));
    }
    let Err(fault) = watch::watch(&options);
    progress(&format!("error: {fault}"));
    ExitCode::from(EXIT_COULD_NOT_RUN)
}

/// Whether there is anything to run: what is wrong with all of it is told without a network.
fn any_runs(options: &Options) -> bool {
    let sound = |lab: &Lab, name: &String| load(name, lab).is_ok_and(|found| !found.is_empty());
    lab(options.lab.as_deref()).is_ok_and(|lab| options.scenarios.iter().any(|it| sound(&lab, it)))
}

/// Gives the lab a network of its own, before anything else of this process runs; says whether it
/// has one.
pub(crate) fn own_network(lab_file: Option<&Path>) -> bool {
    // DNS servers that the lab names are outside.
    if lab(lab_file).is_ok_and(|lab| !lab.dns.servers.is_empty()) {
        progress("Gm: the DNS servers of the lab keep it in the network of this machine");
        return false;
    }
    let entered = apart::enter();
    match &entered {
        Ok(()) => progress("Gm: the lab has a user and a network namespace of its own"),
        Err(fault) => progress(&format!("Gm: the lab has no network of its own: {fault}")),
    }
    entered.is_ok()
}

/// Runs the scenarios, says what does not run, and writes the results.
fn once(options: &Options) -> u8 {
    let mut results = Vec::new();
    let mut code = run_all(options, &mut results).unwrap_or_else(|fault| {
        progress(&format!("error: {fault}"));
        results.push(results::could_not_run(&options.scenarios.join(" "), &fault));
        EXIT_COULD_NOT_RUN
    });
    let mut written = Ok(());
    if options.github {
        written = github::summarise(&digest::of_results("cscf run", &results, Form::Markdown));
    }
    if let Some(path) = &options.junit {
        let report = Report { name: "cscf run".to_owned(), suites: results };
        written = written.and(report.write(path));
    }
    if let Err(fault) = written {
        progress(&format!("error: {fault}"));
        code = EXIT_COULD_NOT_RUN;
    }
    code
}

fn run_all(options: &Options, results: &mut Vec<Suite>) -> Result<u8, String> {
    let lab = lab(options.lab.as_deref())?;
    let mut worst = EXIT_OK;
    let mut loaded: Vec<Loaded> = Vec::new();
    for name in &options.scenarios {
        match load(name, &lab) {
            Ok(found) => loaded.extend(found),
            Err(fault) => worst = could_not_run(name, &fault, results),
        }
    }
    let pattern = options.scenarios.iter().any(|name| many::matching(name).is_some());
    let many = pattern || options.scenarios.len() > 1 || loaded.len() > 1;
    try_to_write(options.out.as_deref().filter(|_| !many), options.junit.as_deref())?;
    if let Some(out) = options.out.as_deref().filter(|_| many) {
        loaded.iter().try_for_each(|one| try_to_write(Some(&out.join(&one.name)), None))?;
    }
    if pattern {
        return many::run(&loaded, &lab, options, results).map(|code| code.max(worst));
    }
    if options.out.is_some() && many {
        progress("each scenario gets a folder of its own under --out");
    }
    for one in &loaded {
        let code = run_one(one, &lab, options, many, results);
        let failed = |fault: String| could_not_run(&one.name, &fault, results);
        worst = worst.max(code.unwrap_or_else(failed));
    }
    Ok(worst)
}

/// Whether the results can be written, before hours go by for them.
///
/// # Errors
///
/// The option, and what is in the way.
pub(crate) fn try_to_write(out: Option<&Path>, junit: Option<&Path>) -> Result<(), String> {
    let told = |option: &str, tried: std::io::Result<()>| {
        tried.map_err(|fault| format!("{option} cannot be written: {fault}"))
    };
    out.map_or(Ok(()), |folder| told("--out", artefacts::try_folder(folder)))?;
    junit.map_or(Ok(()), |file| told("--junit", artefacts::try_file(file)))
}

/// Says why one of the scenarios does not run; the others still do.
fn could_not_run(name: &str, fault: &str, results: &mut Vec<Suite>) -> u8 {
    progress(&format!("error: {fault}"));
    results.push(results::could_not_run(name, fault));
    EXIT_COULD_NOT_RUN
}

pub(crate) fn lab(path: Option<&Path>) -> Result<Lab, String> {
    let Some(path) = path else { return Ok(Lab::default_lab()) };
    let name = path.display().to_string();
    let source = std::fs::read_to_string(path).map_err(|fault| format!("{name}: {fault}"))?;
    read_lab(&source).map_err(|problems| said(&name, &source, &problems))
}

fn said(name: &str, source: &str, problems: &Problems) -> String {
    let colour = std::io::stderr().is_terminal() && !no_color();
    let count = problems.0.len();
    format!(
        "{name} has {count} mistake{}\n\n{}",
        if count == 1 { "" } else { "s" },
        render(name, source, problems, colour)
    )
}

/// Whether a name is that of a file, not of a built-in scenario.
fn is_file(name: &str) -> bool {
    name.ends_with(".yaml") || name.ends_with(".yml") || name.contains('/')
}

fn load(name: &str, lab: &Lab) -> Result<Vec<Loaded>, String> {
    if is_file(name) && !name.contains('*') {
        let source = std::fs::read_to_string(name).map_err(|fault| format!("{name}: {fault}"))?;
        let stem = Path::new(name).file_stem().map(|stem| stem.to_string_lossy().into_owned());
        return Ok(vec![read(stem.unwrap_or_default(), name.to_owned(), source, lab)?]);
    }
    let found = builtin_scenarios(name)?;
    let read = |one: &&Builtin| read(one.name.into(), one.file.into(), one.source.into(), lab);
    found.iter().map(read).collect()
}

/// The built-in scenario of this name, or those that show this response code.
fn builtin_scenarios(name: &str) -> Result<Vec<&'static Builtin>, String> {
    if let Some(found) = builtin::find(name) {
        return Ok(vec![found]);
    }
    if let Some(found) = many::matching(name) {
        let none = || format!("no built-in scenario is like `{name}`; `cscf list` shows them");
        return if found.is_empty() { Err(none()) } else { Ok(found) };
    }
    let found = codes::find(name);
    if !found.is_empty() {
        return Ok(found);
    }
    if let Some(code) = name.strip_prefix("code-") {
        return Err(format!("no scenario shows {code}; `cscf codes` lists the codes"));
    }
    Err(match nearest(name, builtin::ALL.iter().map(|builtin| builtin.name)) {
        Some(near) => format!("no scenario `{name}`; did you mean `{near}`?"),
        None => format!("no scenario `{name}`; `cscf list` shows what there is"),
    })
}

/// Reads a scenario and looks whether all its names are known.
pub(crate) fn read_checked(
    name: &str,
    file: &str,
    source: &str,
    lab: &Lab,
) -> Result<Scenario, String> {
    let loaded = read(name.to_owned(), file.to_owned(), source.to_owned(), lab)?;
    unknown_names(&loaded, lab)?;
    Ok(loaded.scenario)
}

fn read(name: String, file: String, source: String, lab: &Lab) -> Result<Loaded, String> {
    let scenario =
        read_scenario(&source, &lab.domain).map_err(|faults| said(&file, &source, &faults))?;
    Ok(Loaded { name, file, source, scenario })
}

/// Runs one scenario, prints its ladder and verdict, leaves its artefacts; gives its exit code.
fn run_one(
    loaded: &Loaded,
    lab: &Lab,
    options: &Options,
    many: bool,
    results: &mut Vec<Suite>,
) -> Result<u8, String> {
    unknown_names(loaded, lab)?;
    if let Some(reason) = loaded.scenario.only_virtual().filter(|_| !options.simulated) {
        let name = &loaded.name;
        return Err(format!("{name} runs in virtual time only: {reason}; add --virtual"));
    }
    if let Some(reason) = loaded.scenario.left_out(options.simulated, options.protects()) {
        return Err(format!("{} {reason}; leave out --ipsec and --tls", loaded.name));
    }
    progress(&format!("{}: {}", loaded.name, loaded.scenario.title));
    let (instance, outcome) = if options.simulated {
        simulated::run(&loaded.scenario, lab, options)?
    } else {
        live::run(&loaded.scenario, lab, options, &mut progress)?
    };
    let colour = std::io::stdout().is_terminal() && !no_color();
    let verdict = verdict(loaded, &outcome, options);
    let idle = faults::unmet(&loaded.scenario, &instance.lab, &outcome.events);
    let mut stdout = std::io::stdout().lock();
    let written = stdout
        .write_all(draw(&instance, &outcome, options, colour).as_bytes())
        .and_then(|()| stdout.write_all(verdict.as_bytes()))
        .and_then(|()| stdout.write_all(idle.as_bytes()))
        .and_then(|()| stdout.flush());
    // A reader that closed the pipe has seen what it wanted.
    let _ = written;
    drop(stdout);
    annotate(loaded, &outcome, options);
    let (folder, result) = keep(loaded, &instance, &outcome, (options, many))?;
    results.push(result);
    progress(&format!("artefacts: {}", folder.display()));
    Ok(exit_code(&outcome))
}

/// Tells GitHub where in the scenario it went wrong. On standard error, which GitHub reads as well:
/// what stands on standard output is made by scenario and seed alone.
fn annotate(loaded: &Loaded, outcome: &Outcome, options: &Options) {
    if let Some(text) = results::annotation(loaded, outcome).filter(|_| options.github) {
        progress(&text);
    }
}

fn draw(instance: &Instance, outcome: &Outcome, options: &Options, colour: bool) -> String {
    let parties = instance.parties();
    let style = ladder::Style { colour, explain: options.explain };
    ladder::draw(&outcome.events, &parties.columns, &parties.names, style)
}

/// Writes the artefacts of a run; gives their folder and the result.
fn keep(
    loaded: &Loaded,
    instance: &Instance,
    outcome: &Outcome,
    (options, many): (&Options, bool),
) -> Result<(PathBuf, Suite), String> {
    let folder = match &options.out {
        Some(out) if many => out.join(&loaded.name),
        Some(out) => out.clone(),
        None => Path::new("cscf-out").join(&loaded.name),
    };
    let drawn = draw(instance, outcome, options, false);
    let result = results::of_run(loaded, outcome, options, &folder, &drawn);
    let (events, explain, parties) = (&outcome.events, options.explain, &instance.parties());
    let esp_sa = &outcome.esp_sa;
    let run = artefacts::Run { events, parties, explain, result: &result, esp_sa };
    artefacts::write(&folder, &run).map_err(|fault| fault.to_string())?;
    Ok((folder, result))
}

const fn exit_code(outcome: &Outcome) -> u8 {
    match outcome.failure {
        None => EXIT_OK,
        Some(Failure::Expectation(_)) => EXIT_FAILED,
        Some(Failure::Broken(_)) => EXIT_COULD_NOT_RUN,
    }
}

/// No step at all, or proof of what the catalogue does not have.
fn shows_nothing(scenario: &Scenario, problems: &mut Problems) {
    if scenario.steps.is_empty() {
        let help = "write at least one, e.g. `alice registers`".to_owned();
        let start = Position { line: 1, column: 1, ..Position::default() };
        problems.push(start, "a scenario without steps shows nothing", Some(help));
    }
    for (at, id) in scenario.all_steps().into_iter().flat_map(|step| &step.proves) {
        let known = conformance::markers();
        if !known.contains(id.as_str()) {
            let near = nearest(id, known.iter().map(String::as_str));
            let help = near.map(|near| format!("did you mean `{near}`?"));
            let text = format!("`{id}` is no entry of the catalogue (`cscf conformance`)");
            problems.push(*at, text, help);
        }
    }
}

/// What the subject of a command may be.
const USER: &str = "subscriber of the lab, nor described under `parties`";
/// What a name in an expectation may be.
const PHONE: &str = "node of the lab, nor a phone of this scenario";

/// The members of ranges that a text names.
fn in_ranges(text: &str, lab: &Lab) -> BTreeSet<String> {
    let is_member =
        |word: &&str| lab.subscribers.ranges().any(|it| it.imsis.of_imsi(word).is_some());
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.filter(is_member).map(str::to_owned).collect()
}

/// Says of every name that nobody has where it stands and which was meant.
fn unknown_names(loaded: &Loaded, lab: &Lab) -> Result<(), String> {
    let Scenario { parties, lab: changes, .. } = &loaded.scenario;
    let described = parties.iter().filter(|party| party.subscriber.is_some() || party.of.is_some());
    let of_ranges = in_ranges(&loaded.source, lab);
    let users: Vec<&str> = described
        .map(|party| party.name.as_str())
        .chain(changes.subscribers.iter().map(|its| its.name.as_str()))
        .chain(lab.subscribers.listed().iter().map(|subscriber| subscriber.name.as_str()))
        .chain(of_ranges.iter().map(String::as_str))
        .collect();
    let all = lab.nodes.iter().chain(&changes.nodes);
    let nodes: Vec<&str> = all.clone().map(|node| node.name.as_str()).collect();
    let pcscfs = all.filter(|node| node.role == NodeRole::Pcscf);
    let pcscfs: Vec<&str> = pcscfs.map(|node| node.name.as_str()).collect();
    let ues = loaded.scenario.ues();
    let seen: Vec<&str> = nodes.iter().copied().chain(ues.iter().map(String::as_str)).collect();
    let mut problems = Problems::default();
    shows_nothing(&loaded.scenario, &mut problems);
    let mut check = |at: Position, name: &str, known: &[&str], what: &str| {
        if known.contains(&name) {
            return;
        }
        if what == PHONE && users.contains(&name) {
            let help = "let it do something, or name it under `parties`".to_owned();
            problems.push(at, format!("`{name}` takes no part in this scenario"), Some(help));
            return;
        }
        let help = nearest(name, known.iter().copied()).map_or_else(
            || format!("known: {}", known.join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        problems.push(at, format!("`{name}` is no {what}"), Some(help));
    };
    for (at, name) in &changes.untrusted {
        check(*at, name, &nodes, "node of the lab");
    }
    for party in parties {
        if let Some((at, name)) = &party.of {
            check(*at, name, &users, "subscriber of the lab");
        }
        for (at, name) in &party.pcscfs {
            check(*at, name, &pcscfs, "P-CSCF of the lab");
        }
    }
    let unknown: Vec<_> = faults::given(&loaded.scenario)
        .flat_map(|(at, text, rule)| faults::unknown((at, text), rule, &seen, &users))
        .chain(names::unknown(&loaded.scenario, lab, &names::Known { users: &users, seen: &seen }))
        .collect();
    for step in loaded.scenario.all_steps() {
        match &step.kind {
            StepKind::Command { ue, .. } => check(at_word(step, ue), ue, &users, USER),
            StepKind::Restart { node } => {
                check(at_word(step, node), node, &nodes, "node of the lab");
            }
            StepKind::Crash { node } => {
                check(at_word(step, node), node, &seen, PHONE);
            }
            StepKind::Expect(wanted) | StepKind::Never(wanted) => {
                check(at_word(step, &wanted.node), &wanted.node, &seen, PHONE);
                if let Seen::Message { peer: Some(peer), .. } = &wanted.what {
                    check(at_word(step, peer), peer, &seen, PHONE);
                }
            }
            StepKind::Operate(_) | StepKind::Together(_) | StepKind::Wait(_) => {}
        }
    }
    problems.0.extend(unknown);
    if problems.is_empty() {
        return Ok(());
    }
    Err(said(&loaded.file, &loaded.source, &problems))
}

fn verdict(loaded: &Loaded, outcome: &Outcome, options: &Options) -> String {
    let steps = loaded.scenario.all_steps().len();
    let seed = if options.simulated { format!(", seed {}", options.seed) } else { String::new() };
    match &outcome.failure {
        None => format!("\npassed: {} ({steps} steps{seed})\n", loaded.name),
        Some(Failure::Expectation(problem)) => {
            let colour = std::io::stdout().is_terminal() && !no_color();
            let problems = Problems(vec![problem.clone()]);
            let text = render(&loaded.file, &loaded.source, &problems, colour);
            format!("\n{text}\nFAILED: {} ({steps} steps{seed})\n", loaded.name)
        }
        Some(Failure::Broken(fault)) => {
            format!("\nerror: {fault}\n\nBROKEN: {}\n", loaded.name)
        }
    }
}

/// Runs a built-in or given scenario in virtual time, for tests.
///
/// # Errors
///
/// What is wrong with the scenario, or that it could not run.
pub fn simulate(source: &str, seed: u64) -> Result<Outcome, String> {
    simulate_on(source, seed, Family::V4)
}

/// The same with other addresses.
///
/// # Errors
///
/// As [`simulate`].
pub fn simulate_on(source: &str, seed: u64, family: Family) -> Result<Outcome, String> {
    let lab = Lab::default_lab();
    let scenario = read_scenario(source, &lab.domain)
        .map_err(|problems| render("scenario", source, &problems, false))?;
    let options = Options { simulated: true, seed, family, ..Options::default() };
    simulated::run(&scenario, &lab, &options).map(|(_, outcome)| outcome)
}

/// The same in another lab, with the UEs of the built-in one.
///
/// # Errors
///
/// As [`simulate`].
pub fn simulate_in(lab: &Lab, source: &str, seed: u64) -> Result<Outcome, String> {
    let scenario = read_scenario(source, &lab.domain)
        .map_err(|problems| render("scenario", source, &problems, false))?;
    let options = Options { simulated: true, seed, ..Options::default() };
    simulated::run(&scenario, lab, &options).map(|(_, outcome)| outcome)
}

/// Reads a scenario for the built-in lab without running it; gives the number of its steps.
///
/// # Errors
///
/// All that is wrong in it.
pub fn check(file: &str, source: &str) -> Result<usize, String> {
    let lab = Lab::default_lab();
    let loaded = read(file.to_owned(), file.to_owned(), source.to_owned(), &lab)?;
    unknown_names(&loaded, &lab)?;
    Ok(loaded.scenario.all_steps().len())
}

/// What `cscf run --virtual FILE` makes of a scenario in the built-in lab: its exit code, and what
/// it says besides the ladder.
#[must_use]
pub fn judge(file: &str, source: &str, seed: u64) -> (u8, String) {
    let lab = Lab::default_lab();
    let options = Options { simulated: true, seed, ..Options::default() };
    let judged = read(file.to_owned(), file.to_owned(), source.to_owned(), &lab).and_then(|it| {
        unknown_names(&it, &lab)?;
        let (instance, outcome) = simulated::run(&it.scenario, &lab, &options)?;
        let idle = faults::unmet(&it.scenario, &instance.lab, &outcome.events);
        Ok((exit_code(&outcome), verdict(&it, &outcome, &options) + &idle))
    });
    judged.unwrap_or_else(|fault| (EXIT_COULD_NOT_RUN, format!("error: {fault}\n")))
}

/// Progress for a person, on standard error.
fn progress(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Runs a scenario's steps over a stage and puts the events into the order of time.
fn play(scenario: &Scenario, stage: &mut dyn script::Stage) -> Outcome {
    let begin = stage.now();
    let failure = script::run(scenario, stage).err();
    let time = stage.now().since(begin);
    let mut events = stage.events().to_vec();
    events.sort_by_key(|event| event.at);
    Outcome { events, failure, time, esp_sa: Vec::new() }
}
