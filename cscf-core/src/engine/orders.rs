//! What every node can tell its operator: how it is, what it has counted, its transactions, and the
//! last refusals with their causes.

use super::state::Core;
use crate::cx::{CxCommand, CxCounts};
use crate::operator::{Samples, Table, Workload};
use crate::trace::Refusals;

/// The names of the columns of [`refusals`].
pub(super) const COLUMNS: [&str; 8] =
    ["at", "about", "text", "clause", "check", "came", "here", "change"];

/// Refusals as a table, oldest first; the columns of a cause that was not found are empty.
pub(super) fn refusals(kept: &Refusals) -> Table {
    let mut table = Table::new(&COLUMNS);
    for kept in kept.iter() {
        let cause = kept.note.diagnosis.as_deref().cloned().unwrap_or_default();
        let about = if cause.about.is_empty() { kept.about.clone() } else { cause.about };
        table.push([
            kept.at.to_string(),
            about,
            kept.note.text.clone(),
            kept.note.clause.to_string(),
            cause.check,
            cause.theirs,
            cause.ours,
            cause.change,
        ]);
    }
    table
}

/// The names of the columns of [`health`].
const HEALTH_COLUMNS: [&str; 2] = ["item", "value"];
/// Rows shown of the transactions at most.
const ROWS_MAX: usize = 1_000;

/// How a node is: `draining`, `overloaded`; what else is in it adds its peers.
pub(super) fn health(work: &Workload) -> Table {
    let mut table = Table::new(&HEALTH_COLUMNS);
    let yes_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    table.push(["draining".to_owned(), yes_no(work.draining)]);
    table.push(["overloaded".to_owned(), yes_no(work.overload().is_some())]);
    table
}

/// Whether new work is taken, as numbers.
pub(super) fn workload(work: &Workload, samples: &mut Samples) {
    samples.add("cscf_up", &[], 1);
    samples.add("cscf_draining", &[], work.draining.into());
    samples.add("cscf_overloaded", &[], work.overload().is_some().into());
}

/// What was refused, by clause, as numbers.
pub(super) fn refused(kept: &Refusals, samples: &mut Samples) {
    for (clause, count) in kept.by_clause() {
        samples.add("cscf_refusals", &[("clause", &clause.to_string())], *count);
    }
}

/// Answers of Cx, as numbers.
pub(super) fn answers(counts: &CxCounts, samples: &mut Samples) {
    for (command, code, count) in counts.iter() {
        let command = command.map_or("any", CxCommand::as_str);
        let code = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        samples.add("cscf_diameter_answers", &[("command", command), ("code", &code)], count);
    }
}

/// Whether a Diameter peer can be asked, as a row of [`health`] and as a number.
pub(super) fn peer(table: &mut Table, name: &str, up: bool) {
    if table.columns == HEALTH_COLUMNS {
        let state = if up { "reachable" } else { "unreachable" };
        table.push([format!("peer {name}"), state.to_owned()]);
    } else {
        let mut samples = Samples::default();
        samples.add("cscf_peer_up", &[("peer", name)], up.into());
        table.rows.extend(samples.into_table().rows);
    }
}

impl Core {
    /// What was counted of messages, transactions and connections.
    pub(super) fn tell_counts(&self, samples: &mut Samples) {
        let (counters, sizes) = (&self.outlet.counters, self.sizes());
        let many = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        self.outlet.counts.tell(samples);
        samples.add("cscf_sip_dropped", &[], counters.dropped);
        samples.add("cscf_sip_send_failures", &[], counters.send_failures);
        let (servers, clients) = (sizes.server_transactions, sizes.client_transactions);
        samples.add("cscf_sip_transactions", &[("side", "server")], many(servers));
        samples.add("cscf_sip_transactions", &[("side", "client")], many(clients));
        samples.add("cscf_sip_connections", &[], many(sizes.connections));
        refused(self.outlet.refusals(), samples);
    }

    /// The transactions in the order of their places.
    pub(super) fn transactions(&self) -> Table {
        let mut table = Table::new(&["side", "kind", "state", "flow"]);
        for one in self.layer.list().take(ROWS_MAX) {
            let flow = one.flow.map(|flow| flow.to_string()).unwrap_or_default();
            table.push([one.side.to_owned(), one.kind.to_owned(), one.state.to_owned(), flow]);
        }
        table
    }
}
