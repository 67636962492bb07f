//! What nodes count, as named samples: the families are known here, so that every node and every
//! reader means the same by a name. The labels of a family take a bounded number of values.

use super::Table;

/// How a number is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How many fell into each bucket (label `le`), and their sum in microseconds (label `sum`).
    Histogram,
}

/// One thing that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricFamily {
    /// Its name, without the suffix `_total` of counters.
    pub name: &'static str,
    /// How its numbers are to be read.
    pub kind: MetricKind,
    /// What it is, in a sentence.
    pub help: &'static str,
}

const fn family(name: &'static str, kind: MetricKind, help: &'static str) -> MetricFamily {
    MetricFamily { name, kind, help }
}

use MetricKind::{Counter, Gauge, Histogram};

/// Everything that is counted.
pub const FAMILIES: [MetricFamily; 18] = [
    family("cscf_up", Gauge, "1 while the node answers"),
    family("cscf_uptime_seconds", Gauge, "Seconds since the node was started"),
    family("cscf_draining", Gauge, "1 while the node is being emptied for maintenance"),
    family("cscf_overloaded", Gauge, "1 while the node refuses new work for overload"),
    family("cscf_peer_up", Gauge, "1 while a Diameter peer can be asked"),
    family("cscf_sip_requests", Counter, "SIP requests, repeated ones included"),
    family("cscf_sip_responses", Counter, "SIP responses, repeated ones included"),
    family("cscf_sip_dropped", Counter, "What came in and was not acted on"),
    family("cscf_esp_dropped", Counter, "Packets of Gm that were dropped, by cause"),
    family("cscf_sip_send_failures", Counter, "SIP messages that could not be sent"),
    family("cscf_sip_transactions", Gauge, "SIP transactions, lingering ones included"),
    family("cscf_sip_connections", Gauge, "Connections that are open"),
    family("cscf_wait_seconds", Histogram, "How long messages waited for the node"),
    family("cscf_refusals", Counter, "What the node refused, by the clause that asks for it"),
    family("cscf_held", Gauge, "How much of something the role of the node holds"),
    family("cscf_diameter_answers", Counter, "Answers of Cx, by command and result code"),
    family("cscf_subscriptions", Gauge, "Subscriptions of the HSS, by registration state"),
    family("cscf_trace_events_lost", Counter, "Trace events that a reader did not take in time"),
];

/// The family of this name.
#[must_use]
pub fn family_named(name: &str) -> Option<&'static MetricFamily> {
    FAMILIES.iter().find(|family| family.name == name)
}

/// Numbers under names and labels, on their way to whoever reads them.
#[derive(Clone, Debug)]
pub struct Samples(Table);

impl Default for Samples {
    fn default() -> Self {
        Self(Table::new(&["metric", "labels", "value"]))
    }
}

impl Samples {
    /// Adds a number. The name is one of [`FAMILIES`].
    pub fn add(&mut self, name: &'static str, labels: &[(&str, &str)], value: u64) {
        debug_assert!(family_named(name).is_some(), "{name} is no family");
        let text = |text: &str| text.replace(['"', '\\', '\n'], "'");
        let pairs: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", text(value))).collect();
        self.0.push([name.to_owned(), pairs.join(","), value.to_string()]);
    }

    /// As many of something as there are now.
    pub fn held(&mut self, what: &str, count: usize) {
        self.add("cscf_held", &[("what", what)], u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// As a table.
    #[must_use]
    pub fn into_table(self) -> Table {
        self.0
    }
}

/// The labels that stand in a cell of [`Samples`].
#[must_use]
pub fn labels_of(cell: &str) -> Vec<(String, String)> {
    let pairs = cell.split("\",").filter_map(|pair| pair.split_once("=\""));
    pairs.map(|(name, value)| (name.to_owned(), value.trim_end_matches('"').to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_read_back_whatever_stands_in_them() {
        let mut samples = Samples::default();
        samples.add("cscf_refusals", &[("clause", "TS 24.229 §5.2"), ("x", "a,b=\"c")], 7);
        let table = samples.into_table();
        let labels = labels_of(&table.rows[0][1]);
        let expected = [("clause", "TS 24.229 §5.2"), ("x", "a,b='c")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(labels, expected);
        assert_eq!(labels_of(""), []);
        assert_eq!(table.rows[0][2], "7");
    }
}
