//! The codecs a UE offers.

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
