//! `cscf ctl` and `cscf why`: orders to the lab that `cscf up` runs, and what it answers.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use cscf_core::host::program::{EXIT_FAILED, EXIT_OK};
use cscf_core::operator::{Order, OrderAnswer, OrderError, Show, Table, USAGE};

use super::term;
use crate::control::answer_of;
use crate::control::client::Client;
use crate::report::artefacts::KEYS;

/// Where the lab is found.
#[derive(Clone, Debug, Default, Args)]
pub struct At {
    /// The lab file it was started with [default: the built-in lab]
    #[arg(long, value_name = "FILE")]
    pub lab: Option<PathBuf>,
    /// Its control address, in place of that of the lab file
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub control: Option<SocketAddr>,
    /// Its token, if it has one [default: `CSCF_TOKEN`, or that of the lab file]
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,
}

impl At {
    fn client(&self) -> Result<Client, String> {
        Client::find(self.control, self.lab.as_deref(), self.token.as_deref())
    }
}

/// What there is besides orders.
const MORE: &str = "\
Besides orders:
  health [NODE]                          how the nodes are, and who reaches whom
  metrics [NODE]                         what they have counted, as Prometheus reads it
  trace [USER] [--node N] [--method M]   the ladder as it grows, until Ctrl-C
  subscriber add NAME --impi IMPI --impu URI… --password P | --k K --opc OPC
  subscriber change NAME --password P …  other values for what is named
  subscriber show NAME                   its entry, without its secrets
";

/// What `cscf ctl` is asked.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = format!("{MORE}\nOrders:\n{}", indented(USAGE)))]
pub struct CtlArgs {
    #[command(flatten)]
    at: At,
    /// The order, e.g. `dereg alice --reason rejected`, `show registrations`, `health`, `trace bob`
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    order: Vec<String>,
}

/// What `cscf why` is asked.
#[derive(Clone, Debug, Default, Args)]
pub struct WhyArgs {
    #[command(flatten)]
    at: At,
    /// A subscriber: name, IMPI or IMPU [default: everybody, strangers too]
    user: Option<String>,
    /// How many refusals at most, the latest
    #[arg(short = 'n', long, value_name = "N", default_value_t = 5)]
    last: usize,
}

/// What `cscf keys` is asked.
#[derive(Clone, Debug, Default, Args)]
pub struct KeysArgs {
    #[command(flatten)]
    at: At,
    /// The folder of a run, e.g. cscf-out/volte-call [default: the running lab]
    folder: Option<PathBuf>,
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// Gives an order. Exit code 1 when the lab refuses it, 2 when it cannot be given.
pub(super) fn ctl(args: &CtlArgs) -> ExitCode {
    let mut at = args.at.clone();
    // What stands behind the order belongs to it, but for this switch.
    let is_json = |word: &&String| *word == "--json";
    at.json |= args.order.iter().any(|word| is_json(&word));
    let words: Vec<&str> = args.order.iter().filter(|w| !is_json(w)).map(String::as_str).collect();
    let client = match at.client() {
        Ok(client) => client,
        Err(fault) => return term::could_not_run(&fault),
    };
    if let Some(code) = super::live::obey(&client, &words, at.json) {
        return code;
    }
    let order: Order = match words.join(" ").parse() {
        Ok(order) => order,
        Err(fault) => return term::could_not_run(&fault),
    };
    match ask(&at, &order) {
        Ok(Asked::Json(text, code)) => {
            term::out(&text);
            ExitCode::from(code)
        }
        Ok(Asked::Answer(OrderAnswer::Done(text))) => term::print(&format!("{text}\n")),
        Ok(Asked::Answer(OrderAnswer::Table(table))) => term::print(&drawn(&table)),
        Ok(Asked::Refused(text)) => {
            term::error(&text);
            ExitCode::from(EXIT_FAILED)
        }
        Err(fault) => term::could_not_run(&fault),
    }
}

/// Prints the keys of security associations as Wireshark's file `esp_sa` has them.
pub(super) fn keys(args: &KeysArgs) -> ExitCode {
    if let Some(folder) = &args.folder {
        let path = folder.join(KEYS);
        return match std::fs::read_to_string(&path) {
            Ok(text) => term::print(&text),
            Err(fault) => term::could_not_run(&no_keys(folder, &fault)),
        };
    }
    let order = Order::Show { what: Show::Keys, of: Vec::new() };
    match ask(&args.at, &order) {
        Ok(Asked::Json(text, code)) => {
            term::out(&text);
            ExitCode::from(code)
        }
        Ok(Asked::Answer(OrderAnswer::Table(table))) => {
            let lines = table.rows.into_iter().filter_map(|mut row| row.pop());
            term::print(&lines.map(|line| line + "\n").collect::<String>())
        }
        Ok(Asked::Answer(OrderAnswer::Done(_))) => ExitCode::from(EXIT_OK),
        Ok(Asked::Refused(text)) => {
            term::error(&text);
            ExitCode::from(EXIT_FAILED)
        }
        Err(fault) => term::could_not_run(&fault),
    }
}

/// Why a folder has no keys.
fn no_keys(folder: &Path, fault: &std::io::Error) -> String {
    let shown = folder.display();
    if fault.kind() != std::io::ErrorKind::NotFound {
        return format!("{}: {fault}", folder.join(KEYS).display());
    }
    if !folder.exists() {
        return format!(
            "there is no folder {shown}; a run leaves its own in cscf-out/ or where --out says"
        );
    }
    let of_run = |folder: &Path| folder.join("trace.jsonl").is_file();
    if of_run(folder) {
        return format!(
            "the run in {shown} had no security associations: run it with --ipsec (and see `Gm:` \
             in what it says)"
        );
    }
    let below = std::fs::read_dir(folder).ok().into_iter().flatten().flatten();
    let mut runs: Vec<_> = below.map(|it| it.path()).filter(|it| it.join(KEYS).is_file()).collect();
    runs.sort();
    match runs.first() {
        Some(run) => {
            format!("{shown} holds several runs; say which, e.g. `cscf keys {}`", run.display())
        }
        None => format!(
            "{shown} is not the folder of a run (it has no trace.jsonl); `cscf keys` alone asks \
             the running lab"
        ),
    }
}

/// Tells why a user was refused.
pub(super) fn why(args: &WhyArgs) -> ExitCode {
    let user = args.user.as_deref().unwrap_or_default();
    let order: Order = match format!("show refusals {user}").parse() {
        Ok(order) => order,
        Err(fault) => return term::could_not_run(&fault),
    };
    match ask(&args.at, &order) {
        Ok(Asked::Json(text, code)) => {
            term::out(&text);
            ExitCode::from(code)
        }
        Ok(Asked::Answer(OrderAnswer::Table(table))) if table.rows.is_empty() => {
            term::print(&nothing(user, waiting(&args.at, user).as_ref()))
        }
        Ok(Asked::Answer(OrderAnswer::Table(table))) => term::print(&reasons(&table, args.last)),
        Ok(Asked::Answer(OrderAnswer::Done(text)) | Asked::Refused(text)) => {
            term::error(&text);
            ExitCode::from(EXIT_FAILED)
        }
        Err(fault) => term::could_not_run(&fault),
    }
}

/// The challenges that wait for an answer.
fn waiting(at: &At, user: &str) -> Option<Table> {
    let order: Order = format!("show challenges {user}").parse().ok()?;
    match ask(at, &order) {
        Ok(Asked::Answer(OrderAnswer::Table(table))) => Some(table),
        _ => None,
    }
}

/// What there is to say where nothing was refused: perhaps somebody has not answered yet.
fn nothing(user: &str, waiting: Option<&Table>) -> String {
    let who = if user.is_empty() { "anybody" } else { user };
    let mut out = format!("nobody has refused {who} anything since the lab was started\n");
    if let Some(table) = waiting.filter(|table| !table.rows.is_empty()) {
        out.push_str("challenged, and not answered yet:\n");
        out.push_str(&drawn(table));
        out.push_str(
            "  a phone that does not answer has found the MAC wrong (K, or OP taken as OPc: \
             `cscf aka` checks it) or has not got the 401\n",
        );
    } else if !user.is_empty() {
        out.push_str("`cscf why` without a name tells of everybody, strangers too\n");
    }
    out
}

enum Asked {
    Answer(OrderAnswer),
    Json(String, u8),
    Refused(String),
}

fn ask(at: &At, order: &Order) -> Result<Asked, String> {
    let client = at.client()?;
    let reply = client.give(&order.to_string())?;
    if matches!(reply.status, 400..=404) {
        let text = |key: &str| reply.body.get(key).and_then(serde_json::Value::as_str);
        let error = text("error").unwrap_or("refused");
        return Err(match (reply.status, text("hint")) {
            (401, Some(hint)) => format!("{error}\n{hint}"),
            _ => error.to_owned(),
        });
    }
    if at.json {
        // A table is its rows; anything else is what it is.
        let value = reply.body.get("rows").unwrap_or(&reply.body);
        let text = serde_json::to_string_pretty(value).unwrap_or_default() + "\n";
        let code = if reply.status == 200 { EXIT_OK } else { EXIT_FAILED };
        return Ok(Asked::Json(text, code));
    }
    match answer_of(&reply) {
        Some(Ok(answer)) => Ok(Asked::Answer(answer)),
        Some(Err(OrderError::Refused(text))) => Ok(Asked::Refused(text)),
        Some(Err(fault)) => Ok(Asked::Refused(fault.to_string())),
        None => {
            let addr = client.addr;
            Err(format!("{addr} answers what no lab says; is it another program?"))
        }
    }
}

/// A table for people: columns as wide as their widest cell.
pub(super) fn drawn(table: &Table) -> String {
    let mut widths: Vec<usize> = table.columns.iter().map(|name| name.chars().count()).collect();
    for row in &table.rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for row in std::iter::once(&table.columns).chain(&table.rows) {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    if table.rows.is_empty() {
        out.push_str("(none)\n");
    }
    out
}

/// The last refusals, latest last, with values and clauses.
fn reasons(table: &Table, last: usize) -> String {
    let at = |name: &str| table.columns.iter().position(|known| known == name);
    let cell = |row: &Vec<String>, name: &str| {
        at(name).and_then(|at| row.get(at)).cloned().unwrap_or_default()
    };
    let mut rows: Vec<&Vec<String>> = table.rows.iter().collect();
    let time = |row: &&Vec<String>| cell(row, "at").parse::<f64>().unwrap_or_default();
    rows.sort_by(|one, other| time(one).total_cmp(&time(other)));
    let skipped = rows.len().saturating_sub(last);
    let mut out = String::new();
    for row in rows.into_iter().skip(skipped) {
        let (time, node, text) = (cell(row, "at"), cell(row, "node"), cell(row, "text"));
        out.push_str(&format!("{time} {node}: {text} [{}]\n", cell(row, "clause")));
        for (name, key) in
            [("check", "check"), ("came", "came"), ("here", "here"), ("change", "change")]
        {
            let value = cell(row, key);
            if !value.is_empty() {
                out.push_str(&format!("  {name:<6} {value}\n"));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned() {
        let mut table = Table::new(&["node", "impi"]);
        assert_eq!(drawn(&table), "node  impi\n(none)\n");
        table.push(["s1".into(), "alice@ims".into()]);
        table.push(["scscf".into(), "b".into()]);
        assert_eq!(drawn(&table), "node   impi\ns1     alice@ims\nscscf  b\n");
    }

    #[test]
    fn the_latest_refusals_are_told_with_their_values() {
        let mut table =
            Table::new(&["node", "at", "text", "clause", "check", "came", "here", "change"]);
        let row = |at: &str, text: &str| {
            ["s1", at, text, "RFC 1 §2", "realm", "a", "b", ""].map(str::to_owned)
        };
        table.push(row("10.5", "late"));
        table.push(row("9.25", "early"));
        let text = reasons(&table, 1);
        assert_eq!(text, "10.5 s1: late [RFC 1 §2]\n  check  realm\n  came   a\n  here   b\n");
        assert!(reasons(&table, 9).starts_with("9.25 s1: early"));
    }

    #[test]
    fn a_phone_that_has_not_answered_yet_is_told_of() {
        let text = nothing("alice", None);
        assert!(text.contains("nobody has refused alice") && text.contains("without a name"));
        let mut challenges = Table::new(&["impi"]);
        challenges.push(["0010".into()]);
        let text = nothing("", Some(&challenges));
        assert!(text.contains("refused anybody") && text.contains("\n0010\n"), "{text}");
        assert!(text.contains("cscf aka"), "{text}");
    }
}
