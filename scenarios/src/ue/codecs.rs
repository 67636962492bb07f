//! The codecs a UE offers, and the numbers that go with them in SDP (GSMA IR.92 §3.2).

use std::net::SocketAddr;

use cscf_core::ua::{Codec, MediaPlan};

/// A set of codecs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CodecSet {
    /// PCMU and PCMA, as plain SIP clients have.
    Narrow,
    /// AMR-WB, AMR and telephone-event (GSMA IR.92 §3.2).
    #[default]
    VoLte,
    /// EVS before those of VoLTE.
    VoLteEvs,
}

const AMR: &str = "mode-change-capability=2;max-red=220";

const fn codec(payload: u8, name: &'static str, clock_rate: u32, fmtp: &'static str) -> Codec {
    Codec { payload, name, clock_rate, fmtp }
}

const EVS: Codec = codec(96, "EVS", 16_000, "br=5.9-24.4;bw=nb-swb;max-red=220");
const VOLTE: [Codec; 4] = [
    codec(97, "AMR-WB", 16_000, AMR),
    codec(98, "AMR", 8000, AMR),
    codec(99, "telephone-event", 16_000, ""),
    codec(100, "telephone-event", 8000, ""),
];
const NARROW: [Codec; 3] = [
    codec(0, "PCMU", 8000, ""),
    codec(8, "PCMA", 8000, ""),
    codec(101, "telephone-event", 8000, "0-15"),
];

impl CodecSet {
    /// The voice stream of a UE with this set at `address`, which is that of its signalling. No RTP
    /// is sent, so the port only has to differ between UEs that share an address.
    pub(crate) fn plan(self, address: SocketAddr, session_id: u64) -> MediaPlan {
        let codecs = match self {
            Self::Narrow => NARROW.to_vec(),
            Self::VoLte => VOLTE.to_vec(),
            Self::VoLteEvs => [EVS].into_iter().chain(VOLTE).collect(),
        };
        let volte = self != Self::Narrow;
        MediaPlan {
            address: address.ip(),
            port: 49_152 + (address.port() % 8000) * 2,
            session_id,
            codecs,
            bandwidth_as: if volte { 49 } else { 80 },
            bandwidth_rtcp: volte.then_some((612, 1837)),
            packet_times: Some((20, 240)),
        }
    }
}
