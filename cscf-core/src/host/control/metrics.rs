//! What nodes have counted, in the text format of `OpenMetrics`, which Prometheus reads.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;

use crate::operator::{FAMILIES, MetricKind, Table, labels_of};

/// The media type of [`text`].
pub(super) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(String, String)>;
/// No exemplars are given.
type Nothing = Exemplar<Labels, f64>;

/// A number with its labels.
#[derive(Debug)]
struct Sample {
    family: String,
    labels: Labels,
    value: u64,
}

#[derive(Debug)]
struct Scrape(Vec<Sample>);

/// The samples of a table with the columns `node`, `metric`, `labels` and `value`.
pub(super) fn text(table: &Table) -> String {
    let at = |name: &str| table.columns.iter().position(|column| column == name);
    let [node, metric, labels, value] = ["node", "metric", "labels", "value"].map(at);
    let cell = |row: &[String], at: Option<usize>| {
        at.and_then(|at| row.get(at)).cloned().unwrap_or_default()
    };
    let sample = |row: &Vec<String>| {
        let mut all = vec![("node".to_owned(), cell(row, node))];
        all.extend(labels_of(&cell(row, labels)));
        let value = cell(row, value).parse().ok()?;
        Some(Sample { family: cell(row, metric), labels: all, value })
    };
    let samples = table.rows.iter().filter_map(sample).collect();
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(samples)));
    let mut out = String::new();
    // Writing to a text does not fail.
    let _ = encode(&mut out, &registry);
    out
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for family in &FAMILIES {
            let samples = || self.0.iter().filter(|sample| sample.family == family.name);
            if samples().next().is_none() {
                continue;
            }
            let kind = match family.kind {
                MetricKind::Counter => MetricType::Counter,
                MetricKind::Gauge => MetricType::Gauge,
                MetricKind::Histogram => MetricType::Histogram,
            };
            let mut metric = encoder.encode_descriptor(family.name, family.help, None, kind)?;
            match family.kind {
                MetricKind::Histogram => histograms(samples(), &mut metric)?,
                MetricKind::Counter => {
                    for sample in samples() {
                        let mut one = metric.encode_family(&sample.labels)?;
                        one.encode_counter(&sample.value, None::<&Nothing>)?;
                    }
                }
                MetricKind::Gauge => {
                    for sample in samples() {
                        let value = i64::try_from(sample.value).unwrap_or(i64::MAX);
                        metric.encode_family(&sample.labels)?.encode_gauge(&value)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Labels, buckets by their ends, and the sum.
type Histogram = (Labels, Vec<(f64, u64)>, f64);

/// One histogram for each set of the other labels: the buckets come apart, one sample each.
fn histograms<'a>(
    samples: impl Iterator<Item = &'a Sample>,
    metric: &mut MetricEncoder<'_>,
) -> Result<(), fmt::Error> {
    let mut all: Vec<Histogram> = Vec::new();
    for sample in samples {
        let is_own = |(name, _): &&(String, String)| matches!(name.as_str(), "le" | "sum");
        let own = sample.labels.iter().find(is_own);
        let others: Labels = sample.labels.iter().filter(|it| !is_own(it)).cloned().collect();
        if !all.iter().any(|(labels, ..)| *labels == others) {
            all.push((others.clone(), Vec::new(), 0.0));
        }
        let Some((_, buckets, sum)) = all.iter_mut().find(|(labels, ..)| *labels == others) else {
            continue;
        };
        match own {
            Some((name, end)) if name == "le" => {
                let end = end.trim_start_matches('+').parse().unwrap_or(f64::INFINITY);
                buckets.push((end, sample.value));
            }
            _ => *sum = seconds(sample.value),
        }
    }
    for (labels, buckets, sum) in &all {
        let count = buckets.iter().map(|(_, count)| count).sum();
        let mut one = metric.encode_family(labels)?;
        one.encode_histogram::<Labels>(*sum, count, buckets, None)?;
    }
    Ok(())
}

fn seconds(micros: u64) -> f64 {
    crate::time::Duration::from_micros(micros).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_several_nodes_stand_under_one_heading() {
        let mut table = Table::new(&["node", "metric", "labels", "value"]);
        let mut row = |node: &str, metric: &str, labels: &str, value: &str| {
            table.push([node, metric, labels, value].map(str::to_owned));
        };
        row("p1", "cscf_up", "", "1");
        row("p1", "cscf_sip_requests", "direction=\"in\",method=\"INVITE\"", "7");
        row("p1", "cscf_wait_seconds", "le=\"0.001\"", "2");
        row("p1", "cscf_wait_seconds", "le=\"+Inf\"", "1");
        row("p1", "cscf_wait_seconds", "sum=\"us\"", "1500");
        row("s1", "cscf_up", "", "1");
        let expected = "\
# HELP cscf_up 1 while the node answers
# TYPE cscf_up gauge
cscf_up{node=\"p1\"} 1
cscf_up{node=\"s1\"} 1
# HELP cscf_sip_requests SIP requests, repeated ones included
# TYPE cscf_sip_requests counter
cscf_sip_requests_total{node=\"p1\",direction=\"in\",method=\"INVITE\"} 7
# HELP cscf_wait_seconds How long messages waited for the node
# TYPE cscf_wait_seconds histogram
cscf_wait_seconds_sum{node=\"p1\"} 0.0015
cscf_wait_seconds_count{node=\"p1\"} 3
cscf_wait_seconds_bucket{le=\"0.001\",node=\"p1\"} 2
cscf_wait_seconds_bucket{le=\"+Inf\",node=\"p1\"} 3
# EOF
";
        assert_eq!(text(&table), expected);
    }
}
