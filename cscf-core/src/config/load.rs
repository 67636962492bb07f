//! What a node of a lab can carry, and how much new work it takes (TS 24.229 §4.12).

use super::lab::{NodeRole, duration};
use super::problem::Problems;
use super::tree::Reader;
use crate::engine::LoadLimit;
use crate::time::Duration;

/// Engines of one node at most.
const SHARDS_MAX: u8 = 16;

/// The speed of a node and its bounds. By default a node is as fast as the machine and takes what
/// comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadConfig {
    /// How long a simulated node works on each message; meanwhile others wait. Only virtual runs
    /// know it.
    pub service_time: Option<Duration>,
    /// When new work is too much.
    pub limit: LoadLimit,
    /// Of how many engines a simulated P- or S-CSCF consists; `None` is one. Only virtual runs know
    /// it.
    pub shards: Option<u8>,
    /// How long it takes at most to hand something over from one of them to another.
    pub hand_over: Option<Duration>,
}

impl LoadConfig {
    pub(super) fn read(
        reader: &mut Reader<'_>,
        role: Option<NodeRole>,
        problems: &mut Problems,
    ) -> Self {
        let time = |text: &str| micros(text).map(Some);
        let (shards, hand_over) = match role {
            Some(NodeRole::Pcscf | NodeRole::Scscf) => (
                reader.or("shards", None, problems, count),
                reader.or("hand_over", None, problems, time),
            ),
            _ => (None, None),
        };
        Self {
            shards,
            hand_over,
            service_time: reader.or("service_time", None, problems, time),
            limit: LoadLimit {
                latency: reader.or("target_latency", None, problems, time),
                rate: reader.or("requests_per_second", None, problems, |text| {
                    let rate = text.parse().ok().filter(|rate| (1..=1_000_000).contains(rate));
                    let fault = || format!("`{text}` is no number from 1 to 1000000");
                    rate.map(Some).ok_or_else(fault)
                }),
            },
        }
    }

    /// The keys of a node that are not at their defaults, as they are read.
    pub(super) fn written(&self) -> String {
        let time = |key: &str, value: Option<Duration>| {
            value.map(|time| format!(", {key}: {}us", time.as_micros())).unwrap_or_default()
        };
        let rate = self.limit.rate.map(|rate| format!(", requests_per_second: {rate}"));
        let shards = self.shards.map(|count| format!(", shards: {count}"));
        format!(
            "{}{}{}{}{}",
            time("service_time", self.service_time),
            time("target_latency", self.limit.latency),
            rate.unwrap_or_default(),
            shards.unwrap_or_default(),
            time("hand_over", self.hand_over)
        )
    }
}

/// A number of engines.
fn count(text: &str) -> Result<Option<u8>, String> {
    let count = text.parse().ok().filter(|count| (1..=SHARDS_MAX).contains(count));
    count.map(Some).ok_or_else(|| format!("`{text}` is no number from 1 to {SHARDS_MAX}"))
}

/// A time that may be shorter than a millisecond.
fn micros(text: &str) -> Result<Duration, String> {
    let short = text.trim().strip_suffix("us").map(str::trim_end);
    let count = short.and_then(|count| count.parse::<u32>().ok());
    match short {
        None => duration(text),
        Some(_) => count
            .map(|count| Duration::from_micros(count.into()))
            .ok_or_else(|| format!("`{text}` is no time; write 50us, 20ms or 1s")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::lab::{Lab, read_lab};
    use super::*;

    #[test]
    fn what_a_node_carries_is_read_as_it_is_written() {
        let mut lab = Lab::default_lab();
        let all = LoadConfig {
            service_time: Some(Duration::from_micros(50)),
            limit: LoadLimit { latency: Some(Duration::from_millis(20)), rate: Some(7) },
            shards: Some(4),
            hand_over: Some(Duration::from_micros(500)),
        };
        lab.nodes[0].load = all;
        lab.nodes[2].load = LoadConfig { service_time: None, ..all };
        assert_eq!(read_lab(&lab.to_yaml()), Ok(lab));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let lab = Lab::default_lab().to_yaml();
        for (keys, text) in [
            ("service_time: fast", "`fast` is no time; write 500ms, 4s, 10min or 2h"),
            ("service_time: 9.5us", "`9.5us` is no time; write 50us, 20ms or 1s"),
            ("requests_per_second: 0", "`0` is no number from 1 to 1000000"),
            ("shards: 17", "`17` is no number from 1 to 16"),
        ] {
            let wrong = lab.replace("127.0.0.1:6060\"}", &format!("127.0.0.1:6060\", {keys}}}"));
            let problems = read_lab(&wrong).expect_err(keys);
            assert_eq!(problems.0[0].text, text);
        }
    }
}
