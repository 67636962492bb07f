//! The codecs a UE offers, and the numbers that go with them in SDP (GSMA IR.92 §3.2, NG.114 §3.2,
//! IR.94 §3.3).

use std::net::SocketAddr;

use cscf_core::ua::{Codec, MediaPlan, VideoPlan};

/// A set of codecs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CodecSet {
    /// AMR alone: what every UE has.
    Amr,
    /// EVS before those of VoLTE, in one of the configurations of NG.114.
    Evs(Evs),
    /// PCMU and PCMA, as plain SIP clients have.
    Narrow,
    /// AMR-WB, AMR and telephone-event (GSMA IR.92 §3.2).
    #[default]
    VoLte,
}

/// The EVS configurations (GSMA NG.114 §3.2.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evs {
    /// 5.9 to 13.2 kbit/s, narrow band to super-wideband.
    A1,
    /// 5.9 to 24.4 kbit/s, narrow band to super-wideband.
    A2,
    /// 13.2 kbit/s, super-wideband.
    B0,
    /// 9.6 to 13.2 kbit/s, super-wideband.
    B1,
    /// 9.6 to 24.4 kbit/s, super-wideband.
    B2,
}

impl Evs {
    const fn codec(self) -> Codec {
        codec(
            96,
            "EVS",
            16_000,
            match self {
                Self::A1 => "br=5.9-13.2;bw=nb-swb;max-red=220",
                Self::A2 => "br=5.9-24.4;bw=nb-swb;max-red=220",
                Self::B0 => "br=13.2;bw=swb;max-red=220",
                Self::B1 => "br=9.6-13.2;bw=swb;max-red=220",
                Self::B2 => "br=9.6-24.4;bw=swb;max-red=220",
            },
        )
    }
}

const AMR: &str = "mode-change-capability=2;max-red=220";

const fn codec(payload: u8, name: &'static str, clock_rate: u32, fmtp: &'static str) -> Codec {
    Codec { payload, name, clock_rate, fmtp }
}

const VOLTE: [Codec; 4] = [
    codec(97, "AMR-WB", 16_000, AMR),
    codec(98, "AMR", 8000, AMR),
    codec(99, "telephone-event", 16_000, ""),
    codec(100, "telephone-event", 8000, ""),
];
const AMR_ONLY: [Codec; 2] = [codec(98, "AMR", 8000, AMR), codec(100, "telephone-event", 8000, "")];
const NARROW: [Codec; 3] = [
    codec(0, "PCMU", 8000, ""),
    codec(8, "PCMA", 8000, ""),
    codec(101, "telephone-event", 8000, "0-15"),
];
/// H.264 constrained baseline, level 1.2 (GSMA IR.94 §3.3.1).
const H264: Codec = codec(104, "H264", 90_000, "profile-level-id=42e00c;packetization-mode=1");

/// What a UE can besides its codecs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extras {
    /// It can video.
    pub(super) video: bool,
    /// The call begins with video.
    pub(super) video_offered: bool,
    /// It answers with all common codecs.
    pub(super) all_codecs: bool,
}

impl CodecSet {
    /// All sets by their words in the scenario language.
    pub const NAMED: [(&'static str, Self); 8] = [
        ("amr", Self::Amr),
        ("evs-a1", Self::Evs(Evs::A1)),
        ("evs-a2", Self::Evs(Evs::A2)),
        ("evs-b0", Self::Evs(Evs::B0)),
        ("evs-b1", Self::Evs(Evs::B1)),
        ("evs-b2", Self::Evs(Evs::B2)),
        ("narrow", Self::Narrow),
        ("volte", Self::VoLte),
    ];

    /// The streams of a UE with this set at `address`, which is that of its signalling. No RTP
    /// is sent, so the port only has to differ between UEs that share an address.
    pub(crate) fn plan(self, address: SocketAddr, session_id: u64) -> MediaPlan {
        self.plan_with(address, session_id, Extras::default())
    }

    /// The same with what the UE can besides.
    pub(super) fn plan_with(
        self,
        address: SocketAddr,
        session_id: u64,
        extras: Extras,
    ) -> MediaPlan {
        let codecs = match self {
            Self::Amr => AMR_ONLY.to_vec(),
            Self::Evs(evs) => [evs.codec()].into_iter().chain(VOLTE).collect(),
            Self::Narrow => NARROW.to_vec(),
            Self::VoLte => VOLTE.to_vec(),
        };
        let volte = self != Self::Narrow;
        let port = 49_152 + (address.port() % 4000) * 4;
        MediaPlan {
            address: address.ip(),
            port,
            session_id,
            codecs,
            bandwidth_as: if volte { 49 } else { 80 },
            bandwidth_rtcp: volte.then_some((612, 1837)),
            packet_times: Some((20, 240)),
            video: extras.video.then_some(VideoPlan {
                port: port + 2,
                codec: H264,
                bandwidth_as: 315,
                offered: extras.video_offered,
            }),
            all_codecs: extras.all_codecs,
        }
    }
}
